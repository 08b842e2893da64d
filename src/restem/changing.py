"""Settings with some of their fields changed by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from restem.errors import UsageError

Settings = TypeVar("Settings")


def with_changes(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A dataclass `settings` with other values of some fields.

    Raises UsageError for a name that is not a field, with the most similar one, and what the dataclass itself raises.
    """
    known = [field.name for field in fields(settings) if field.init]  # type: ignore[arg-type]
    for name in changes:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            remedy = f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(known)}."
            raise UsageError(f"There is no setting `{name}`; {remedy}")
    return replace(settings, **changes) if changes else settings  # type: ignore[type-var]
