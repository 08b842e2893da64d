"""Formats names, numbers and label sets for display: in the terminal, in the report, on the review page.

A file name may hold line breaks, terminal escapes and characters that reverse the reading direction. They are escaped
(`\\x1b`, `\\u202e`), so that the screen shows what is on the disk.
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
        # Zs are spaces such as the ideographic space, which are not "printable" to Python but harmless.
        char if char.isprintable() or unicodedata.category(char) == "Zs" else _escaped(char)
        for char in name
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def shortened(name: str, width: int) -> str:
    """`name` in at most `width` characters (at least 1), cut in the middle, because the end distinguishes files."""
    if len(name) <= width:
        return name
    if width < 4:
        return name[: width - 1] + "…"
    tail = (width - 1) * 2 // 3
    return name[: width - 1 - tail] + "…" + name[-tail:]


def counted(number: int, noun: str) -> str:
    """A count with its noun: `1 stem`, `1,024 stems`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def decimal(value: float | None, absent: str = "–") -> str:
    """`value` with three decimals, or `absent` for one that is undefined."""
    return absent if value is None else f"{value:.3f}"


def label_set_text(text: str | None) -> str:
    """A written label set, or `nothing` for the empty one."""
    return text or EMPTY


def extra_command(extra: str) -> str:
    """How to install what an extra of restem needs, for an error message."""
    return f"`pip install 'restem[{extra}]'`, or in a copy of the source `pip install '.[{extra}]'`"
