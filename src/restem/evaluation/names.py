"""Names from a disk, made fit to be looked at.

A file name may hold line breaks, terminal escapes and characters that turn the reading direction round. They are
written out (`\\x1b`, `\\u202e`), so that what is on the screen is what is on the disk.
"""

from __future__ import annotations

import unicodedata


def printable(name: str) -> str:
    """`name` with control, format and unassigned characters written as escapes; letters of any script stay."""
    if name.isprintable():
        return name
    return "".join(
        # Zs are blanks, as the ideographic space, that are not "printable" but harmless.
        char if char.isprintable() or unicodedata.category(char) == "Zs" else _escaped(char)
        for char in name
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def within_song(song: str, stem: str) -> str:
    """`stem` without the folder of its song, where it lies in it: (`take1`, `take1/bass.ogg`) -> `bass.ogg`."""
    return stem.removeprefix(f"{song}/") or stem


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` characters (at least 1): the middle gives way, because the end tells files apart."""
    if len(name) <= width:
        return name
    if width < 4:
        return name[: width - 1] + "…"
    tail = (width - 1) * 2 // 3
    return name[: width - 1 - tail] + "…" + name[-tail:]
