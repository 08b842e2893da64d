"""The feature store: the mel power of every stem, computed once, kept on disk, memory-mapped.

An entry is one file, `<key>.mel`: a JSON header padded to 4096 bytes, then `(frame, band)` rows of bfloat16, the
upper half of a float32. Eight bits of precision (0.02 dB) over the whole range of float32: no stem needs a scale of
its own, and rows can be added as they are.

The key is made of what the file is (inode, size, time of change, audio stream) and of the mel settings, not of its
path: a dataset may be moved or spelled differently, and a changed file is computed again. An entry appears under
its name when it is whole, so a kill at any moment leaves none broken; deleting entries is always safe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from restem.audio.mel import MelSettings, mel_power
from restem.audio.reader import open_audio
from restem.errors import AudioError, RestemError, UsageError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.files import written_aside
from restem.progress import Report

_HEADER_BYTES = 4096
_FORMAT = "restem mel 1"

Source = tuple[Path, int]
"""A file and the audio stream in it."""


def default_cache() -> Path:
    """Where features are kept unless told otherwise: `restem` in the user's cache folder.

    That is `$XDG_CACHE_HOME/restem` or `~/.cache/restem` on Linux, and what is usual on other systems.
    Raises UsageError where there is no home folder.
    """
    try:
        folder = user_cache_path("restem", appauthor=False)
    except RuntimeError:  # of Path.expanduser
        folder = Path()
    # Without a home, platformdirs leaves the `~` in the path.
    if not folder.is_absolute():
        raise UsageError("There is no home folder for the cache; name a folder with `cache`.")
    return folder


@dataclass(frozen=True)
class StemFeatures:
    """The mel power of one stem. rows: (frame, band) bfloat16 bits as uint16, memory-mapped."""

    rows: np.ndarray
    seconds: float
    rate_hz: int
    channels: int

    def __len__(self) -> int:
        return len(self.rows)

    def power(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Mel power of the frames `start` to `stop`, (frame, band) float32."""
        return from_bfloat16(self.rows[start:stop])

    def frame_power(self) -> np.ndarray:
        """The mean square of every frame within the mel range, (frame,) float32."""
        return np.concatenate([part.sum(axis=1) for part in self._parts()])

    def _parts(self, frames: int = 1 << 15) -> Iterator[np.ndarray]:
        for start in range(0, len(self), frames):
            yield self.power(start, start + frames)


class Store:
    """The entries of one folder for one set of mel settings."""

    def __init__(self, folder: Path, settings: MelSettings | None = None) -> None:
        self.folder = folder
        self.settings = settings or MelSettings()

    def entry(self, source: Source) -> Path:
        """The path of a stem's entry, whether it is there or not. Raises AudioError when the file is not."""
        key = content_key(source, _FORMAT, asdict(self.settings))
        return self.folder / key[:2] / f"{key}.mel"

    def load(self, source: Source) -> StemFeatures | None:
        """A stem's features, or None when they have not been computed (or its entry is damaged)."""
        entry = self.entry(source)
        try:
            with entry.open("rb") as file:
                header = json.loads(file.read(_HEADER_BYTES))
            rows = np.memmap(entry, np.uint16, "r", offset=_HEADER_BYTES, shape=(header["frames"], self.settings.bands))
            return StemFeatures(rows, header["seconds"], header["rate_hz"], header["channels"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None

    def require(self, source: Source) -> StemFeatures:
        """The features of a stem that must be there by now; raises RestemError when they have gone."""
        features = self.load(source)
        if features is None:
            raise RestemError(f"{source[0]}: its features have gone from {self.folder}; run the command again.")
        return features

    def compute(self, source: Source) -> None:
        """Decodes a stem and writes its entry, block by block. Raises AudioError when it cannot be decoded."""
        entry = self.entry(source)
        frames = 0
        try:
            with open_audio(*source) as audio, written_aside(entry) as aside, aside.open("wb") as file:
                file.seek(_HEADER_BYTES)
                for power in mel_power(audio.blocks(), audio.info.rate_hz, self.settings):
                    file.write(to_bfloat16(power).tobytes())
                    frames += len(power)
                header = {
                    "format": _FORMAT,
                    "settings": asdict(self.settings),
                    "frames": frames,
                    "seconds": audio.info.seconds,
                    "rate_hz": audio.info.rate_hz,
                    "channels": audio.info.channels,
                }
                file.seek(0)
                file.write(json.dumps(header).encode().ljust(_HEADER_BYTES))
        except OSError as error:
            raise RestemError(
                f"{entry.parent}: cannot be written ({error.strerror}); choose another `cache`."
            ) from error

    def fill(
        self, sources: list[Source], executor: Executor = IN_THIS_PROCESS, report: Report | None = None
    ) -> dict[int, str]:
        """Computes what is missing. Returns the sources that failed: index -> reason.

        report: called with the number of sources done and in all.
        """
        return fill(sources, self.load, partial(_compute, self), executor, report)


def content_key(source: Source, *what: Any) -> str:
    """A name for `what` is kept of a stem: a hash of it and of what the file is, not of its path.

    Raises AudioError when the file is not there.
    """
    path, stream = source
    try:
        status = path.stat()
    except OSError as error:
        raise AudioError(f"{path}: {(error.strerror or 'cannot be read').lower()}.") from error
    identity = [status.st_ino, status.st_size, status.st_mtime_ns, stream, *what]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:40]


def fill(
    sources: list[Source],
    load: Callable[[Source], object | None],
    compute: Callable[[Source], str | None],
    executor: Executor,
    report: Report | None,
) -> dict[int, str]:
    """Computes the entries that cannot be loaded. Returns those that failed: index -> reason.

    compute: returns why it failed, or None. report: called with the number of sources done and in all.
    """
    failures: dict[int, str] = {}
    missing: list[int] = []
    for index, source in enumerate(sources):
        try:
            if load(source) is None:
                missing.append(index)
        except AudioError as error:
            failures[index] = str(error)
    done = len(sources) - len(missing)
    for position, reason in executor.map_unordered(compute, [sources[index] for index in missing]):
        if reason is not None:
            failures[missing[position]] = reason
        done += 1
        if report is not None:
            report(done, len(sources))
    return failures


def gather_power(rows: Sequence[np.ndarray], stem: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """The mel power of segments of `length` frames, (segment, frame, band) float32.

    rows: one (frame, band) array of bfloat16 bits a stem. stem, start: (segment,) index into `rows`, and first frame.
    What lies beyond the end of a stem is silence.
    """
    bits = np.zeros((len(stem), length, rows[0].shape[1]), np.uint16)
    for row, (which, first) in enumerate(zip(stem.tolist(), start.tolist(), strict=True)):
        piece = rows[which][first : first + length]
        bits[row, : len(piece)] = piece
    return from_bfloat16(bits)


def _compute(store: Store, source: Source) -> str | None:
    """Computes an entry in a worker process; returns why it failed."""
    try:
        store.compute(source)
    except AudioError as error:
        return str(error)
    return None


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 bits (uint16), rounded to nearest. Values must be finite and not negative."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16) -> float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
