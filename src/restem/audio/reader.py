"""Reads audio files block by block, from any start time, without holding a whole file in memory.

WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64 are decoded by libsndfile; M4A and MP4, with all their audio streams, and
WavPack by PyAV. Samples are float32, `(channel, sample)`. A file that lacks a large part, is empty, or holds samples
that are not sound raises an `AudioError`; it never becomes silence. One that lacks a little at its end is read as far
as it goes, and `AudioReader.note` says so.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile

from restem.addresses import Address, as_path
from restem.audio.examined import lacking, lacks_little, truncated
from restem.audio.ogg import last_page_start
from restem.audio.structure import MendedFile, examine
from restem.content import is_special
from restem.errors import AudioError, RestemError
from restem.fetching import fetched, named

SOUNDFILE_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
)
CONTAINER_EXTENSIONS = frozenset({".m4a", ".mp4", ".wv"})
EXTENSIONS = SOUNDFILE_EXTENSIONS | CONTAINER_EXTENSIONS
MP4 = "MP4"

BLOCK_FRAMES = 1 << 16

# Other rates are those of damaged headers. Resampled to the rate of a separator, a few seconds would fill the memory.
LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
LOUDEST = 1e10
"""The largest sample that is sound, 200 dB above full scale: floats that are scaled as 32-bit integers lie below it."""

# How long before the wanted sample decoding starts, where a frame depends on earlier ones: AAC needs two frames, 0.1 s
# at 22 kHz; MP3 needs as many as its bit reservoir (511 bytes) reaches back.
_PREROLL_S = 0.5

# No longer than a frame is as a rule.
_FLAC_FRAMES = 4096

# Lossy formats may declare a length that is off by their encoder's delay and padding.
_LENGTH_TOLERANCE_S = {".mp3": 0.1, ".m4a": 0.15, ".mp4": 0.15}


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file's header states. `frames` counts samples of one channel; see `guessed`.

    container, codec: the format of the file and of its samples, as libsndfile names them (`WAV`, `PCM_16`); for an M4A
    or MP4, `MP4` and FFmpeg's name of the codec (`aac`).
    """

    rate_hz: int
    channels: int
    frames: int
    container: str
    codec: str
    guessed: bool = False
    """Whether `frames` is a guess, because the file does not say how long it is."""
    mended: bool = False
    """Whether the file's own header is wrong, so that other programs may not be able to read it."""

    @property
    def seconds(self) -> float:
        return self.frames / self.rate_hz

    @property
    def encoding(self) -> str:
        """Container and codec in one text, `WAV PCM_16`; for an MP4 the codec alone, `aac`."""
        return self.codec if self.container == MP4 else f"{self.container} {self.codec}"


class _Source(Protocol):
    """A decoder with a read position in one audio stream."""

    info: AudioInfo
    note: str
    """What is wrong with the file although it can be read; empty for nothing."""
    problem: str
    """The decoder's message if it could not go on before the end."""

    def seek(self, frame: int) -> None: ...
    def read(self, frames: int) -> np.ndarray: ...
    def close(self) -> None: ...


def open_audio(path: Path | str, stream: int = 0) -> AudioReader:
    """Opens `path` for reading.

    stream: the audio stream of an MP4; or -1, -2, ... for the first, second, ... channel of a file alone.
    Raises AudioError when the file is missing, unreadable, empty, truncated or not audio.
    """
    return AudioReader(as_path(path), stream)


def probe(path: Path | str, stream: int = 0) -> AudioInfo:
    """Reads the header of `path`; raises AudioError as `open_audio` does."""
    with open_audio(path, stream) as audio:
        return audio.info


class AudioReader:
    """Reads one audio stream of one file; a context manager.

    Iterating over `blocks` reads forward from a start time; only one block is held in memory. What lies at an address
    is read from a copy, which is there until the reader is closed.
    """

    def __init__(self, path: Path, stream: int = 0) -> None:
        self.path = self._copy = path
        self._fetched = ExitStack()
        if isinstance(path, Address):
            try:
                self._copy = self._fetched.enter_context(fetched(path))
            except OSError as error:
                raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}.") from error
        try:
            with named(path, self._copy):
                self._open(self._copy, stream)
        except BaseException:
            self._fetched.close()
            raise

    def _open(self, path: Path, stream: int) -> None:
        if is_special(path):
            # To open a pipe would wait for ever for its other end.
            raise AudioError(f"{path}: is not an ordinary file; give an audio file.")
        self._channels = slice(None) if stream >= 0 else slice(-1 - stream, -stream)
        if path.suffix.lower() in CONTAINER_EXTENSIONS or _is_mp4(path):
            self._source: _Source = _ContainerSource(path, max(0, stream))
        else:
            self._source = _SoundFileSource(path)
        self._short = ""
        self._reached = 0
        self.info = self._source.info
        if not LOWEST_RATE_HZ <= self.info.rate_hz <= HIGHEST_RATE_HZ:
            self.close()
            raise AudioError(
                f"{path}: has a sampling rate of {self.info.rate_hz} Hz, which music has not; correct its header."
            )
        if stream < 0:
            if self.info.channels < -stream:
                self.close()
                raise AudioError(
                    f"{path}: has {self.info.channels} channels, not the {-stream} that its dataset needs."
                )
            self.info = replace(self.info, channels=1)
        if self.info.frames == 0:
            self.close()
            raise AudioError(f"{path}: holds no samples; replace the file or remove it.")

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._source.close()
        self._fetched.close()

    @property
    def note(self) -> str:
        """What is wrong with the file although it can be used, as `its last 0.50 s are missing`; else empty.

        What is missing at the end is known once `blocks` have been read up to it.
        """
        return "; ".join(filter(None, (self._source.note, self._short)))

    @property
    def seconds_read(self) -> float:
        """How far `blocks` have been read; at the end, the real length, of which a header may be a bit off."""
        return self._reached / self.info.rate_hz

    def blocks(
        self, start_s: float = 0.0, stop_s: float | None = None, block_frames: int = BLOCK_FRAMES
    ) -> Iterator[np.ndarray]:
        """Yields `(channel, sample)` float32 arrays of `block_frames` samples, the last one shorter.

        Raises AudioError for samples that are not finite or louder than `LOUDEST`, and when the file lacks a large part
        of the length that its header states.
        """
        with named(self.path, self._copy):
            yield from self._blocks(start_s, stop_s, block_frames)

    def _blocks(self, start_s: float, stop_s: float | None, block_frames: int) -> Iterator[np.ndarray]:
        rate_hz = self.info.rate_hz
        first = min(max(0, round(start_s * rate_hz)), self.info.frames)
        last = self.info.frames if stop_s is None else min(round(stop_s * rate_hz), self.info.frames)
        self._source.seek(first)
        position = first
        while position < last:
            block = self._source.read(min(block_frames, last - position))[self._channels]
            if block.shape[1] == 0:
                break
            if (found := first_unusable(block)) is not None:
                where, what = found
                raise AudioError(
                    f"{self.path}: holds {what} at {(position + where) / rate_hz:.2f} s; "
                    "render or download the file again."
                )
            position += block.shape[1]
            self._reached = max(self._reached, position)
            yield block
        if position < last:
            self._ended_early(position)
        elif stop_s is None:
            self._goes_on()

    def _goes_on(self) -> None:
        """Notes that there is more than the header states, which only MP4 decoders give away."""
        tolerance = round(_LENGTH_TOLERANCE_S.get(self.path.suffix.lower(), 0.0) * self.info.rate_hz)
        if self._source.read(tolerance + 1).shape[1] > tolerance:
            self._short = "goes on after the length that its header states; the rest is not used"

    def _ended_early(self, position: int) -> None:
        """Notes what is missing after the sample `position`, or raises AudioError if it is too much."""
        missing_s = (self.info.frames - position) / self.info.rate_hz
        nothing, problem = position == 0, self._source.problem
        if not (nothing or problem):
            tolerance_s = _LENGTH_TOLERANCE_S.get(self.path.suffix.lower(), 0.0)
            if self.info.guessed or missing_s <= tolerance_s:
                return
        if nothing or not lacks_little(missing_s, self.info.seconds):
            raise (
                AudioError(_reason(self.path, problem))
                if problem
                else truncated(self.path, missing_s, self.info.seconds)
            )
        self._short = lacking(missing_s, "cannot be decoded" if problem else "are missing")

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> np.ndarray:
        """The samples of a time range at once, `(channel, sample)` float32; raises AudioError as `blocks` does."""
        parts = list(self.blocks(start_s, stop_s))
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.info.channels, 0), np.float32)


def first_unusable(block: np.ndarray) -> tuple[int, str] | None:
    """The index of the first sample in a (channel, sample) block that is not sound, and what it is; or None."""
    # NaN is the maximum of what holds it, and no comparison with it is true.
    if not block.size or (block.max() <= LOUDEST and block.min() >= -LOUDEST):
        return None
    usable = (np.abs(block) <= LOUDEST).all(axis=0)
    where = int(np.argmin(usable))
    sample = block[:, where]
    if not np.isfinite(sample).all():
        return where, "NaN or infinite samples"
    return where, f"a sample of {float(np.abs(sample).max()):.0e}, which is not sound,"


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read forward.

    soundfile itself seeks after each read to keep a write position, which costs time and, in some MP3 files, makes the
    decoder lose its position (a loud click at each block).
    """

    def seekable(self) -> bool:
        return False


class _SoundFileSource:
    """A `_Source` that decodes with libsndfile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        examined = examine(path)
        self.note, self.problem = examined.note, ""
        mended = bool(examined.head)
        try:
            self._file = _ForwardFile(MendedFile(path, examined) if mended else str(path))
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(_reason(path, str(error).rpartition(": ")[2].strip())) from error
        self.info = AudioInfo(
            self._file.samplerate,
            self._file.channels,
            self._file.frames,
            self._file.format,
            self._file.subtype,
            guessed=examined.guessed,
            mended=mended,
        )

    def seek(self, frame: int) -> None:
        if frame == self._file.tell():
            return
        target = frame
        try:
            if self._file.subtype == "VORBIS":
                # libsndfile (1.2.2) is some samples off after seeking forward from the current position, and after
                # seeking into the last page, whose end is cut. Seeking from the start to the page before and reading on
                # is exact.
                target = min(frame, max(0, last_page_start(self._path) - 1))
                self._file.seek(0)
            elif self._file.format == "MP3":
                target = max(0, frame - round(_PREROLL_S * self.info.rate_hz))
            self._file.seek(target)
            while target < frame and (passed := len(self._file.read(min(frame - target, BLOCK_FRAMES)))):
                target += passed
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(f"{self._path}: cannot seek to {frame / self.info.rate_hz:.2f} s.") from error

    def read(self, frames: int) -> np.ndarray:
        # libsndfile forgets what it has decoded when it comes upon damage. It only stops at damage in FLAC, of which
        # little is asked for at a time, so that little is lost.
        piece = _FLAC_FRAMES if "FLAC" in (self._file.format, self._file.subtype) else frames
        samples, have = np.empty((frames, self.info.channels), np.float32), 0
        try:
            while have < frames and not self.problem:
                wanted = samples[have : have + piece]
                count = self._file.buffer_read_into(wanted, "float32")
                have += count
                if count < len(wanted):
                    break
        except soundfile.LibsndfileError as error:
            self.problem = str(error).rpartition(": ")[2].strip() or "damaged stream"
        return samples[:have].T

    def close(self) -> None:
        self._file.close()


class _ContainerSource:
    """A `_Source` that decodes with PyAV, which brings the FFmpeg libraries in its wheel."""

    def __init__(self, path: Path, stream: int) -> None:
        import av

        self._path = path
        self._number = stream
        self._error = av.FFmpegError
        self._container = _open_container(path)
        streams = self._container.streams.audio
        if stream >= len(streams):
            self._container.close()
            raise AudioError(f"{path}: has {len(streams)} audio streams, no stream {stream}.")
        self._stream: Any = streams[stream]
        self._new_resampler: Callable[[], Any] = partial(av.AudioResampler, format="flt")
        self.note = self.problem = ""
        self.info = self._described()
        self._frames: Iterator[np.ndarray] = iter(())
        self._rest = np.zeros((self.info.channels, 0), np.float32)
        self._at_start = True

    def _described(self) -> AudioInfo:
        """What the header states; raises AudioError for one that is damaged."""
        codec = self._stream.codec_context
        if codec is None or not codec.sample_rate or not codec.channels:
            self._container.close()
            raise AudioError(_reason(self._path, "unknown codec, rate or channels"))
        duration = self._stream.duration or 0
        seconds = float(duration * self._stream.time_base) if duration > 0 else 0.0
        if not seconds and (self._container.duration or 0) > 0:
            seconds = self._container.duration / 1_000_000  # AV_TIME_BASE
        return AudioInfo(codec.sample_rate, codec.channels, round(seconds * codec.sample_rate), MP4, codec.name)

    def seek(self, frame: int) -> None:
        # Decoders need packets from before the target to settle; samples before it are dropped by time stamp.
        target_s = frame / self.info.rate_hz - _PREROLL_S
        try:
            if target_s > 0:
                self._container.seek(int(target_s / self._stream.time_base), stream=self._stream)
            elif not self._at_start:
                # Seeking to 0 would skip the priming packets before it, and corrupt the first frame.
                self._container.close()
                self._container = _open_container(self._path)
                self._stream = self._container.streams.audio[self._number]
        except self._error as error:
            raise AudioError(_reason(self._path, "cannot seek")) from error
        self._at_start = False
        self._frames = self._decode(frame)
        self._rest = self._rest[:, :0]

    def _decode(self, first: int) -> Iterator[np.ndarray]:
        resampler = self._new_resampler()
        try:
            for frame in self._container.decode(self._stream):
                position = None
                if frame.pts is not None:
                    position = round(float(frame.pts * frame.time_base) * self.info.rate_hz)
                if len(frame.layout.channels) != self.info.channels or frame.sample_rate != self.info.rate_hz:
                    self.problem = "its rate or channels change"
                    return
                for piece in resampler.resample(frame):
                    # Interleaved: PyAV (18) takes a frame of eight separate channels for one of nine, and crashes.
                    samples = piece.to_ndarray().reshape(-1, self.info.channels).T
                    early = max(0, first - position) if position is not None else 0
                    if early < samples.shape[1]:
                        yield samples[:, early:]
        except self._error as error:
            self.problem = error.strerror or "damaged stream"

    def read(self, frames: int) -> np.ndarray:
        parts, have = [self._rest], self._rest.shape[1]
        while have < frames:
            part = next(self._frames, None)
            if part is None:
                break
            parts.append(part)
            have += part.shape[1]
        samples = np.concatenate(parts, axis=1)
        self._rest = samples[:, frames:]
        return samples[:, :frames]

    def close(self) -> None:
        self._container.close()


def _is_mp4(path: Path) -> bool:
    """Whether the content is an MP4, whatever its name says: a purchased M4A is often renamed to .mp3."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"ftyp"
    except OSError:
        return False


def _open_container(path: Path) -> Any:
    import av

    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise AudioError(_reason(path, error.strerror or "not an MP4")) from error


def _reason(path: Path, said: str) -> str:
    """A one-line message why `path` cannot be decoded; `said` is the decoder's own message."""
    try:
        if not path.exists():
            return f"{path}: no such file."
        if path.is_dir():
            return f"{path}: is a folder, not an audio file."
        with path.open("rb") as file:
            if not file.read(1):
                return f"{path}: is empty (0 bytes); copy or download it again."
    except PermissionError:
        return f"{path}: no permission to read it; change its permissions."
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            # Not the file's fault, so not an AudioError, which would make it a broken one.
            raise RestemError(
                f"{path}: cannot be opened ({error.strerror}); raise the limit with `ulimit -n`."
            ) from error
        return f"{path}: {error.strerror}."
    if "does not exist" in said:
        # libsndfile's message for an MP3 without a complete frame.
        said = "not a whole frame of audio"
    return f"{path}: cannot be decoded ({said.rstrip('.').lower() or 'unknown format'}); replace or rename the file."
