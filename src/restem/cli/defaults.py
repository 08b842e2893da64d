"""The defaults of a function, without importing it: `--help` must not wait for torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeGuard


@cache
def defaults_of(module: str, function: str) -> Mapping[str, Any]:
    """Argument -> default of a function, read from the source of its module, so that each default stands once.

    Those that are not plain numbers, words, flags or None are left out.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    positional = [*found.args.posonlyargs, *found.args.args]
    given = found.args.defaults
    # Defaults of positional arguments belong to the last ones.
    pairs = [
        *zip(positional[len(positional) - len(given) :], given, strict=True),
        *zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True),
    ]
    return {argument.arg: ast.literal_eval(value) for argument, value in pairs if _is_literal(value)}


def _is_literal(value: ast.expr | None) -> TypeGuard[ast.expr]:
    return isinstance(value, ast.Constant) or (isinstance(value, ast.UnaryOp) and _is_literal(value.operand))
