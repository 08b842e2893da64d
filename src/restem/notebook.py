"""How results are shown in a notebook: small HTML tables. Names from the disk are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from restem.wording import printable


def html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a caption; cells that are numbers are aligned to the right."""
    head = "".join(f"<th>{_cell(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(map(_data, row)) + "</tr>" for row in rows)
    return f"<table><caption>{_cell(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _data(value: object) -> str:
    return f'<td style="text-align:right">{_cell(value)}</td>' if _is_number(value) else f"<td>{_cell(value)}</td>"


def _cell(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if _is_number(value) else str(value)
    return escape(printable(text))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
