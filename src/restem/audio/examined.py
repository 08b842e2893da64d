"""What is found out about an audio file before it is decoded, and how much of it may be missing."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from restem.errors import AudioError

# A stem that lacks its end is still good to learn from and to judge. What is missing may be this long, or this share of
# the whole, but never more than the third.
_LITTLE_S = 1.0
_LITTLE_SHARE = 0.02
_LARGE_SHARE = 0.25


@dataclass(frozen=True)
class Examined:
    """What the structure of a file says about it.

    note: what is wrong with the file although it can be used, as `its last 0.50 s are missing`; empty for nothing.
    head, start: for a header that the decoder would take wrongly: `head` is to stand for the first `start` bytes.
    guessed: whether the length that the decoder states is a guess, with which nothing may be compared.
    """

    note: str = ""
    head: bytes = b""
    start: int = 0
    guessed: bool = False


def lacks_little(missing_s: float, stated_s: float) -> bool:
    """Whether a file of `stated_s` that lacks `missing_s` is used as it is, with a note."""
    return missing_s <= min(max(_LITTLE_S, _LITTLE_SHARE * stated_s), _LARGE_SHARE * stated_s)


def lacking(missing_s: float, what: str = "are missing") -> str:
    """The note about a file that lacks a little at its end."""
    return f"its last {max(missing_s, 0.01):.2f} s {what}"


def truncated(path: Path, missing_s: float, stated_s: float) -> AudioError:
    """The error for a file that lacks a large part."""
    return AudioError(
        f"{path}: is truncated, {missing_s:.2f} s of {stated_s:.2f} s are missing; copy or download it again."
    )


def joined(path: Path) -> AudioError:
    """The error for files that were joined, of which a decoder reads the first."""
    return AudioError(
        f"{path}: holds several recordings one after the other; decode it to WAV or FLAC with another program."
    )


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file that is not empty, without reading all of them into memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data
