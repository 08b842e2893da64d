"""How templates become HTML: the Jinja environment of the report and the filters that its templates use.

Names from a disk and values of `run.json` are data that nobody vouches for. Whatever a template prints is made visible
(`wording.printable`) and then escaped, without the template having to ask for it; only what another template has
made, or what this package ships, is taken as HTML.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from restem.wording import counted, label_set_text, printable

FOLDER = "templates"


@cache
def environment() -> Environment:
    """The environment in which all templates are rendered; a name that is not defined is an error."""
    made = Environment(
        loader=PackageLoader("restem.review", FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"clock": clock, "counted": counted, "duration": duration, "label_set_text": label_set_text}
    made.filters |= {"percent": "{:.1%}".format, "thousands": "{:,}".format}
    return made


def package_data(name: str) -> str:
    """The text of a file beside the templates, as it is."""
    return (resources.files("restem.review") / FOLDER / name).read_text(encoding="utf-8")


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


def _visible(value: Any) -> Any:
    """What Jinja prints instead of a value, before it escapes it: control characters are written out.

    Raises UndefinedError for a name that is not defined.
    """
    # The result of a macro is HTML that was escaped when it was made.
    return value if isinstance(value, Markup) else printable(str(value))
