"""What a layout is: how many of the files found it explains, and how they become stems.

A reader says of every audio file either which stems it holds or why it holds none. It decodes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from restem.dataset.table import UNKNOWN_CLASS, Skipped, Stem, nfc
from restem.dataset.walk import Found
from restem.taxonomy import Taxonomy

Item = Stem | Skipped

MIXTURE = "the mixture, not a stem"
NOT_LISTED = "not named in the dataset's metadata"


@dataclass(frozen=True)
class Layout:
    """One way in which a dataset can lie on disk.

    tree: where the stems are, for people. fits: how many audio files of the folder it explains. read: what they hold.
    """

    tree: str
    fits: Callable[[Found, Taxonomy], int]
    read: Callable[[Found, Taxonomy], Iterable[Item]]


def stem_or_reason(
    taxonomy: Taxonomy,
    song: str,
    path: str,
    instruments: Sequence[str],
    families: Sequence[str] = (),
    *,
    stream: int | None = None,
    split: str = "",
    bleed: str = "",
    licence: str = "",
    called: str = "",
) -> Item:
    """The stem of a file of which the instruments are known, or the reason why it has no label set.

    families: that of each instrument; by default the words of its name say it. called: what the dataset calls the
    instruments, by default their names. A file with an instrument that is no class is not a stem: without it, its label
    set would be wrong.
    """
    known = [*families, *[None] * (len(instruments) - len(families))]
    classes = [taxonomy.classify(name, family) for name, family in zip(instruments, known, strict=True)]
    labels, called = frozenset(filter(None, classes)), nfc(called or "|".join(instruments))
    stem = Stem(nfc(song), path, labels, stream, split, called, bleed, licence)
    unknown = [name for name, found in zip(instruments, classes, strict=True) if found is None]
    return Skipped(stem.name, f"{unknown[0]}: {UNKNOWN_CLASS}") if unknown else stem
