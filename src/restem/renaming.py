"""Values that had another name in earlier versions: they are understood, with a notice."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


class RenamedWarning(FutureWarning):
    """A name of an earlier version was used; it will not be understood for ever."""


def current_name(argument: str, value: Value, renamed: Mapping[str, Value]) -> Value:
    """`value` under its present name, with a `RenamedWarning` where it was given under an earlier one."""
    if isinstance(value, str) and value in renamed:
        warnings.warn(f"`{argument}={value}` is now called `{renamed[value]}`.", RenamedWarning, stacklevel=4)
        return renamed[value]
    return value
