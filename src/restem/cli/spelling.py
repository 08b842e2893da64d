"""Arguments as they are spelled on the command line.

The library's messages name Python arguments in backticks: `out`, `start='scratch'`. Here they become the options of
the command that ran: --out, --start scratch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cyclopts import App

_ARGUMENT = re.compile(r"`([a-z_]+)(?:=([^`]*))?`")


def command_of(app: App, tokens: Sequence[str]) -> App | None:
    """The command, or the command of a command, that was meant; None where there is none of that name."""
    found = None
    for token in tokens:
        if token.startswith("-") or token not in (found or app):
            break
        found = (found or app)[token]
    return found


def spellings(command: App) -> Mapping[str, str]:
    """Python argument -> its option (`--out`) or, for a positional one, its name in the usage (`OUT`)."""
    arguments = command.assemble_argument_collection()
    return {argument.field_info.name: argument.name for argument in arguments if argument.name != "*"}


def as_options(message: str, command: App | None) -> str:
    """`message` with every argument of the command in backticks spelled as on the command line."""
    if command is None:
        return message
    known = spellings(command)

    def spell(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in known:
            return found[0]
        # A flag needs no value.
        return known[name] if value in (None, "True") else f"{known[name]} {_unquoted(value)}"

    return _ARGUMENT.sub(spell, message)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
