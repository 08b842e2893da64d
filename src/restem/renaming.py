"""Argument values that were renamed: the name of earlier versions is accepted, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


class RenamedWarning(FutureWarning):
    """A name of an earlier version was used; a later version will no longer accept it."""


def current_name(argument: str, value: Value, renamed: Mapping[str, Value]) -> Value:
    """`value` under its current name; warns with a `RenamedWarning` if an earlier name was given."""
    if isinstance(value, str) and value in renamed:
        warnings.warn(f"`{argument}={value}` is now called `{renamed[value]}`.", RenamedWarning, stacklevel=4)
        return renamed[value]
    return value
