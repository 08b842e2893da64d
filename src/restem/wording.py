"""How names, numbers and label sets are written for people: in the terminal, in the report, on the review page.

A file name may hold line breaks, terminal escapes and characters that turn the reading direction round. They are
written out (`\\x1b`, `\\u202e`), so that what is on the screen is what is on the disk.
"""

from __future__ import annotations

import unicodedata

EMPTY = "nothing"
"""How the empty label set is written where an empty cell would be read as "unknown"."""


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


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` characters (at least 1): the middle gives way, because the end tells files apart."""
    if len(name) <= width:
        return name
    if width < 4:
        return name[: width - 1] + "…"
    tail = (width - 1) * 2 // 3
    return name[: width - 1 - tail] + "…" + name[-tail:]


def counted(number: int, noun: str) -> str:
    """`1 stem`, `1,024 stems`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def decimal(value: float | None, absent: str = "–") -> str:
    """`value` with three decimals, or `absent` for one that is undefined."""
    return absent if value is None else f"{value:.3f}"


def set_name(text: str | None) -> str:
    """A written label set, in a form that can be seen when it is empty."""
    return text or EMPTY
