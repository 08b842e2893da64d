"""Reads audio files block by block, from any start time, without holding a whole file in memory.

WAV, FLAC, OGG, MP3, AIFF, AU, CAF and W64 are decoded by libsndfile; M4A and MP4, with all their audio streams, and
WavPack by PyAV. Samples are
float32, `(channel, sample)`. A file that is truncated, empty, or holds NaN or infinite samples raises an `AudioError`;
it never becomes silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile

from restem.audio.complete import check_complete, last_ogg_page_start
from restem.errors import AudioError

SOUNDFILE_EXTENSIONS = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
)
CONTAINER_EXTENSIONS = frozenset({".m4a", ".mp4", ".wv"})
EXTENSIONS = SOUNDFILE_EXTENSIONS | CONTAINER_EXTENSIONS
MP4 = "MP4"

BLOCK_FRAMES = 1 << 16

# How long before the wanted sample decoding starts, where a frame depends on earlier ones: AAC needs two frames, 0.1 s
# at 22 kHz; MP3 needs as many as its bit reservoir (511 bytes) reaches back.
_PREROLL_S = 0.5

# Lossy formats may declare a length that is off by their encoder's delay and padding.
_LENGTH_TOLERANCE_S = {".mp3": 0.1, ".m4a": 0.15, ".mp4": 0.15}


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file's header states. `frames` counts samples of one channel.

    container, codec: the format of the file and of its samples, as libsndfile names them (`WAV`, `PCM_16`); for an M4A
    or MP4, `MP4` and FFmpeg's name of the codec (`aac`).
    """

    rate_hz: int
    channels: int
    frames: int
    container: str
    codec: str

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

    def seek(self, frame: int) -> None: ...
    def read(self, frames: int) -> np.ndarray: ...
    def close(self) -> None: ...


def open_audio(path: Path | str, stream: int = 0) -> AudioReader:
    """Opens `path` for reading.

    stream: the audio stream of an MP4; or -1, -2, ... for the first, second, ... channel of a file alone.
    Raises AudioError when the file is missing, unreadable, empty, truncated or not audio.
    """
    return AudioReader(Path(path), stream)


def probe(path: Path | str, stream: int = 0) -> AudioInfo:
    """Reads the header of `path`; raises AudioError as `open_audio` does."""
    with open_audio(path, stream) as audio:
        return audio.info


class AudioReader:
    """Reads one audio stream of one file; a context manager.

    Iterating over `blocks` reads forward from a start time; only one block is held in memory.
    """

    def __init__(self, path: Path, stream: int = 0) -> None:
        self.path = path
        self._channels = slice(None) if stream >= 0 else slice(-1 - stream, -stream)
        if path.suffix.lower() in CONTAINER_EXTENSIONS or _is_mp4(path):
            self._source: _Source = _ContainerSource(path, max(0, stream))
        else:
            self._source = _SoundFileSource(path)
        self.info = self._source.info
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

    def blocks(
        self, start_s: float = 0.0, stop_s: float | None = None, block_frames: int = BLOCK_FRAMES
    ) -> Iterator[np.ndarray]:
        """Yields `(channel, sample)` float32 arrays of `block_frames` samples, the last one shorter.

        Raises AudioError for NaN or infinite samples, and when the file ends before the length its header states.
        """
        rate_hz = self.info.rate_hz
        first = min(max(0, round(start_s * rate_hz)), self.info.frames)
        last = self.info.frames if stop_s is None else min(round(stop_s * rate_hz), self.info.frames)
        self._source.seek(first)
        position = first
        while position < last:
            block = self._source.read(min(block_frames, last - position))[self._channels]
            if block.shape[1] == 0:
                break
            # A sum is finite only if every sample is (or overflows, which the exact test then settles).
            with np.errstate(over="ignore", invalid="ignore"):
                suspicious = not np.isfinite(block.sum())
            if suspicious and not np.isfinite(block).all():
                where = position + int(np.argmin(np.isfinite(block).all(axis=0)))
                raise AudioError(
                    f"{self.path}: holds NaN or infinite samples at {where / rate_hz:.2f} s; "
                    "render or download the file again."
                )
            position += block.shape[1]
            yield block
        missing = (last - position) / rate_hz
        nothing = first == 0 and position == 0 < last
        if nothing or missing > _LENGTH_TOLERANCE_S.get(self.path.suffix.lower(), 0.0):
            raise AudioError(
                f"{self.path}: is truncated, {missing:.2f} s of {self.info.seconds:.2f} s are missing; "
                "copy or download it again."
            )

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> np.ndarray:
        """The samples of a time range at once, `(channel, sample)` float32; raises AudioError as `blocks` does."""
        parts = list(self.blocks(start_s, stop_s))
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.info.channels, 0), np.float32)


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
        check_complete(path)
        try:
            self._file = _ForwardFile(str(path))
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(_reason(path, str(error).rpartition(": ")[2].strip())) from error
        self.info = AudioInfo(
            self._file.samplerate, self._file.channels, self._file.frames, self._file.format, self._file.subtype
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
                target = min(frame, max(0, last_ogg_page_start(self._path) - 1))
                self._file.seek(0)
            elif self._file.format == "MP3":
                target = max(0, frame - round(_PREROLL_S * self.info.rate_hz))
            self._file.seek(target)
            while target < frame and (passed := len(self._file.read(min(frame - target, BLOCK_FRAMES)))):
                target += passed
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(f"{self._path}: cannot seek to {frame / self.info.rate_hz:.2f} s.") from error

    def read(self, frames: int) -> np.ndarray:
        try:
            samples: np.ndarray = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(_reason(self._path, str(error).rpartition(": ")[2].strip())) from error
        return samples.T

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
        self._new_resampler: Callable[[], Any] = partial(av.AudioResampler, format="fltp")
        duration = self._stream.duration or 0
        seconds = float(duration * self._stream.time_base) if duration else 0.0
        if not seconds and self._container.duration:
            seconds = self._container.duration / av.time_base
        rate_hz = self._stream.rate
        self.info = AudioInfo(
            rate_hz, self._stream.channels, round(seconds * rate_hz), MP4, self._stream.codec_context.name
        )
        self._frames: Iterator[np.ndarray] = iter(())
        self._rest = np.zeros((self.info.channels, 0), np.float32)
        self._at_start = True

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
                for piece in resampler.resample(frame):
                    samples = piece.to_ndarray().astype(np.float32, copy=False)
                    early = max(0, first - position) if position is not None else 0
                    if early < samples.shape[1]:
                        yield samples[:, early:]
        except self._error as error:
            raise AudioError(_reason(self._path, error.strerror or "damaged stream")) from error

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
    if not path.exists():
        return f"{path}: no such file."
    if path.is_dir():
        return f"{path}: is a folder, not an audio file."
    try:
        with path.open("rb") as file:
            if not file.read(1):
                return f"{path}: is empty (0 bytes); copy or download it again."
    except PermissionError:
        return f"{path}: no permission to read it; change its permissions."
    except OSError as error:
        return f"{path}: {error.strerror}."
    if "does not exist" in said:
        # libsndfile's message for an MP3 without a complete frame.
        said = "not a whole frame of audio"
    return f"{path}: cannot be decoded ({said.rstrip('.').lower() or 'unknown format'}); replace or rename the file."
