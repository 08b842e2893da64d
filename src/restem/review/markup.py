"""The small pieces of HTML that every section of the report is made of.

Whatever comes from outside (names from a disk, values of `run.json`) reaches the page through `text` and nothing else.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from restem.runs.findings import REST
from restem.taxonomy import LabelSet, Taxonomy
from restem.wording import printable, set_name


def text(value: object) -> str:
    """`value` as inert text, good for content and for quoted attributes; control characters become visible."""
    return html.escape(printable(str(value)), quote=True)


def name(value: str) -> str:
    """A name from a disk: inert, and unable to turn the reading direction of what follows."""
    return f"<bdi>{text(value)}</bdi>"


def label_set(written: str) -> str:
    """A written label set that may break its line after every `+`, and shows when it is empty."""
    if written == REST or not written:
        return f"<i>{set_name(written)}</i>"
    return text(written).replace("+", "+<wbr>")


def defined(word: str, definition: str) -> str:
    """`word` with its definition one hover, or one focus, away."""
    return f'<abbr tabindex="0" title="{text(definition)}">{text(word)}</abbr>'


def change(given: LabelSet, refined: LabelSet, taxonomy: Taxonomy) -> str:
    """`drums → drums+other`, with what went struck through and what came marked; one set if nothing changed."""
    if given == refined:
        return f'<span class="set">{label_set(taxonomy.format(given))}</span>'
    before = _marked(given, given - refined, "del", taxonomy)
    after = _marked(refined, refined - given, "ins", taxonomy)
    return f'<span class="set">{before}</span> <span class="arrow">→</span> <span class="set">{after}</span>'


def _marked(labels: LabelSet, marked: LabelSet, tag: str, taxonomy: Taxonomy) -> str:
    parts = (f"<{tag}>{text(one)}</{tag}>" if one in marked else text(one) for one in taxonomy.classes if one in labels)
    return "+<wbr>".join(parts) or label_set("")


def table(
    head: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[str]],
    kind: str = "",
    attributes: Sequence[str] | None = None,
) -> str:
    """A table that scrolls in its own frame when it is too wide.

    head: of each column its HTML and its CSS class. rows: the cells' HTML; the first cell is the head of its row.
    kind: CSS class of the table. attributes: of each row, the HTML attributes.
    """
    head_html = "".join(f'<th scope="col" class="{css}">{cell}</th>' for cell, css in head)
    body = []
    for i, row in enumerate(rows):
        cells = [f'<th scope="row" class="{head[0][1]}">{row[0]}</th>']
        cells += [f'<td class="{css}">{cell}</td>' for cell, (_, css) in zip(row[1:], head[1:], strict=True)]
        body.append(f"<tr {attributes[i] if attributes else ''}>{''.join(cells)}</tr>")
    rows_html = "\n".join(body)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{head_html}</tr></thead>'
        f"<tbody>\n{rows_html}\n</tbody></table></div>"
    )


def duration(seconds: float) -> str:
    """`3.2 h`, `12 min`, `8 s`: two digits that tell how much it is."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def clock(seconds: float) -> str:
    """A time on an axis: `3:05`, or `1:03:05` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
