"""Writes docs/python-api.md from the docstrings of the package.

python docs/build.py
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import restem

PAGE = Path(__file__).parent / "python-api.md"

INTRODUCTION = """\
# Python API

Written by `make docs` from the docstrings; change them there. Everything here is an attribute of `restem`. Tables are
polars data frames with the columns that [formats](formats.md) defines. Importing `restem` is cheap: each verb loads
what it needs when it is used.
"""


def render() -> str:
    """The page, with everything that `restem.__all__` names."""
    objects = {name: getattr(restem, name) for name in restem.__all__ if name != "__version__"}
    errors = [name for name, one in objects.items() if inspect.isclass(one) and issubclass(one, Exception)]
    classes = [name for name, one in objects.items() if inspect.isclass(one) and name not in errors]
    verbs = [name for name in objects if name not in (*errors, *classes)]
    parts = [INTRODUCTION, "## Verbs\n"]
    parts += [function(name, objects[name]) for name in verbs]
    parts.append("## Tables and settings\n")
    parts += [record(name, objects[name]) for name in classes]
    parts.append("## Errors\n")
    parts.append("| error | raised for |\n|---|---|")
    parts += [f"| `{name}` | {' '.join(documentation(objects[name]).split())} |" for name in errors]
    parts.append(f"\n`restem.__version__` is the version, here `{restem.__version__}`.\n")
    return "\n".join(parts)


def function(name: str, one: Any, level: str = "###") -> str:
    return f"{level} {name}\n\n```\n{name}{signature(one)}\n```\n\n{documentation(one)}\n"


def record(name: str, one: Any) -> str:
    """A class: its fields with their defaults, its docstring, its public methods and properties."""
    lines = [f"### {name}\n", "```", f"{name}(" + ", ".join(map(field_text, fields(one))) + ")", "```\n"]
    assert is_dataclass(one)
    lines.append(documentation(one) + "\n")
    for member, value in vars(one).items():
        if member.startswith("_") or not getattr(value, "__doc__", None):
            continue
        if inspect.isfunction(value):
            lines.append(f"- `{member}{signature(value)}`: {oneline(value)}")
        elif isinstance(value, property) or type(value).__name__ == "cached_property":
            lines.append(f"- `{member}`: {oneline(value)}")
    return "\n".join(lines) + "\n"


def signature(one: Any) -> str:
    """Like `str(inspect.signature(one))`, the same in all versions of Python, a long one over several lines."""
    found = inspect.signature(one)
    parts = []
    starred = False
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{parameter.name}: {parameter.annotation}{default}")
    inside = ", ".join(parts)
    if len(inside) > 90:
        inside = "\n    " + ",\n    ".join(parts) + ",\n"
    return f"({inside}) -> {found.return_annotation}"


def field_text(one: Any) -> str:
    default = ""
    if one.default is not MISSING:
        default = f" = {one.default!r}"
    elif one.default_factory is not MISSING:
        default = f" = {one.default_factory()!r}"
    return f"{one.name}: {one.type}{default}"


def documentation(one: Any) -> str:
    return inspect.cleandoc(one.__doc__ or "")


def oneline(one: Any) -> str:
    return " ".join(documentation(one).split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"Written: {PAGE.relative_to(Path(__file__).parents[1])}")
