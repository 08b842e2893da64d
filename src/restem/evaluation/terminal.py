"""The few forms that every table in the terminal shares."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text


def bare_table(title: str) -> Table:
    """An empty table with a bold title, a rule under its head and no frame."""
    return Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def counted(number: int, noun: str) -> str:
    """`1 stem`, `1,024 stems`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def decimal(value: float | None, absent: str = "–") -> str:
    """`value` with three decimals, or `absent` for one that is undefined."""
    return absent if value is None else f"{value:.3f}"
