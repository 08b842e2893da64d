"""Reads the small YAML files and values that people write: plain mappings, lists, words and numbers.

What YAML has besides, files of this kind do not need, and it does harm: aliases (`*name`) let a few lines stand for
gigabytes, tags build other things than values, and of a key that is there twice the first value would be lost.
"""

from __future__ import annotations

from typing import Any

import yaml

_LONGEST = 1 << 20  # characters
_DEEPEST = 20

# The parser in C is ten times as fast; PyYAML may have been built without it.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """The value of a YAML document, which may be JSON; None for an empty one.

    Raises ValueError, with a reason in one line, for what is not YAML, and for what is not plain.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"it has more than {_LONGEST:,} characters")
    try:
        _check_plain(text)
        _check_keys(yaml.compose(text, Loader=_LOADER))
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    # What PyYAML raises for values that it cannot make, such as the date 2020-13-45 or the number 0b_.
    except (KeyError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a value cannot be read ({type(error).__name__})") from error


def _check_plain(text: str) -> None:
    """Raises ValueError for aliases, tags and deep nesting; builds nothing, so that nothing can grow."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it refers to *{event.anchor}; write the value out instead")
        if tag := getattr(event, "tag", None):
            raise ValueError(f"it holds the tag {tag}; leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _check_keys(node: yaml.Node | None) -> None:
    """Raises ValueError for keys that are not words, or are there twice."""
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _check_keys(child)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError("one of its keys is a list or a mapping")
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} is there twice")
            seen.add(key.value)
            _check_keys(value)
