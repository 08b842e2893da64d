"""The feature store: the mel power of every stem, computed once, kept on disk, read part by part.

After its header (see `entries`) an entry holds `(frame, band)` rows of bfloat16, the upper half of a float32: 8 bits
of precision (0.02 dB) over the whole range of float32. So no stem needs a scale factor, and the rows of different stems
can be summed directly. The sums of all rows follow, which tell where a stem sounds without its rows being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from restem.addresses import Address, as_path
from restem.audio.entries import HEADER_BYTES, KEY_DIGITS, EntryStore, Source
from restem.audio.mel import MelSettings, mel_power
from restem.audio.reader import open_audio
from restem.audio.stored import Rows, StoredArray

_FORMAT = "restem mel 2"


@dataclass(frozen=True, eq=False)
class StemFeatures:
    """The mel power of one stem.

    rows: (frame, band) bfloat16 bits as uint16, read when asked for. note: what is wrong with the stem's file although
    it could be used, see `AudioReader.note`. sums: (frame,) float32, the sum of every row, where it is kept.
    """

    rows: Rows
    seconds: float
    rate_hz: int
    channels: int
    note: str = ""
    sums: Rows | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def power(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Mel power of the frames `start` to `stop`, (frame, band) float32."""
        return from_bfloat16(self.rows[start:stop])

    def frame_power(self) -> np.ndarray:
        """The mean square of every frame within the mel range, (frame,) float32."""
        if self.sums is not None:
            return self.sums[0 : len(self)]
        return np.concatenate([part.sum(axis=1) for part in self._parts()])

    def _parts(self, frames: int = 1 << 15) -> Iterator[np.ndarray]:
        for start in range(0, len(self), frames):
            yield self.power(start, start + frames)


class Store(EntryStore[StemFeatures]):
    """A store of the mel power of stems, for one set of mel settings."""

    suffix = ".mel"
    contents = "features"

    def __init__(self, folder: Path, settings: MelSettings | None = None) -> None:
        self.settings = settings or MelSettings()
        super().__init__(folder, _FORMAT, asdict(self.settings))

    def stored(self, sources: Iterable[Source]) -> StoredStems:
        """The features of stems, which must be there."""
        found = [(key, len(entry)) for key, entry in map(self.ensure, sources)]
        keys, frames = zip(*found, strict=True)
        return self.with_keys(np.array(keys, f"S{KEY_DIGITS}"), np.array(frames))

    def with_keys(self, keys: np.ndarray, frames: np.ndarray) -> StoredStems:
        """The features of the stems whose entries have these keys, see `StoredStems`."""
        address = str(self.folder) if isinstance(self.folder, Address) else ""
        return StoredStems(str(self._here), self.settings, keys, frames, address)

    def _read(self, _: Source, entry: Path, header: Mapping[str, Any]) -> StemFeatures:
        shape = (header["frames"], self.settings.bands)
        rows = StoredArray(entry, np.uint16, HEADER_BYTES, shape).checked()
        sums = None
        if header.get("sums", False):  # entries of earlier versions have none
            sums = StoredArray(entry, np.float32, HEADER_BYTES + 2 * prod(shape), shape[:1]).checked()
        return StemFeatures(rows, header["seconds"], header["rate_hz"], header["channels"], header["note"], sums)

    def _write(self, source: Source, file: BinaryIO) -> Mapping[str, Any]:
        sums = []
        with open_audio(*source) as audio:
            for power in mel_power(audio.blocks(), audio.info.rate_hz, self.settings):
                bits = to_bfloat16(power)
                file.write(bits.data)
                sums.append(from_bfloat16(bits).sum(axis=1))
        for part in sums:
            file.write(part.data)
        return {
            "format": _FORMAT,
            "settings": asdict(self.settings),
            "frames": sum(map(len, sums)),
            "sums": True,
            "seconds": audio.seconds_read,
            "rate_hz": audio.info.rate_hz,
            "channels": audio.info.channels,
            "note": audio.note,
        }


@dataclass(frozen=True, eq=False)
class StoredStems:
    """The features of many stems, in a form that can be sent to a worker process: a sequence of their `Rows`.

    Nothing is opened before it is read; an error is raised then if it has gone. folder: of the store, on this machine.
    settings: of the store. keys: (stem,) what names their entries, in ASCII. frames: (stem,) how many each has.
    address: of the store, if it lies at one; another machine calls `on_this_machine` before it reads.
    """

    folder: str
    settings: MelSettings
    keys: np.ndarray
    frames: np.ndarray
    address: str = ""

    def on_this_machine(self) -> StoredStems:
        """The same; what a store at an address holds of them has been copied to this machine."""
        if not self.address:
            return self
        folder = Store(as_path(self.address), self.settings).bring(key.decode() for key in self.keys)
        return replace(self, folder=str(folder))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> StoredArray:
        """The rows of a stem, (frame, band) bfloat16 bits."""
        key = self.keys[index].decode()
        name = f"{self.folder}/{key[:2]}/{key}{Store.suffix}"
        return StoredArray(name, np.uint16, HEADER_BYTES, (int(self.frames[index]), self.settings.bands))

    def of(self, chosen: np.ndarray) -> StoredStems:
        """Some of them: their indices, or flags (stem,)."""
        return replace(self, keys=self.keys[chosen], frames=self.frames[chosen])


def gather_power(rows: Sequence[Rows] | StoredStems, stem: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """The mel power of segments of `length` frames, (segment, frame, band) float32.

    rows: one (frame, band) array of bfloat16 bits per stem. stem, start: (segment,) index into `rows`, and first frame.
    Frames beyond the end of a stem are silent.
    """
    bits = np.zeros((len(stem), length, rows[0].shape[1]), np.uint16)
    for row, (which, first) in enumerate(zip(stem.tolist(), start.tolist(), strict=True)):
        piece = rows[which][first : first + length]
        bits[row, : len(piece)] = piece
    return from_bfloat16(bits)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 -> bfloat16 bits (uint16), rounded to nearest. Values must be finite and not negative."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits (uint16) -> float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
