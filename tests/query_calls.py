"""Every call of a named query in the product's own source, as it stands there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from coach.database.queries import Queries, load
from coach.http.lists import newest_first
from coach.resources import SQL

SOURCE = SQL.parent / "coach"
METHODS = {"one", "rows", "value", "values", "run", "run_each", "statement"}


class Call(NamedTuple):
    """``names`` are the parameters that stand there; None where some come out of a dictionary. ``row`` is a class."""

    where: str
    subject: str
    query: str
    method: str
    names: frozenset[str] | None
    row: Any


def calls(root: Path = SOURCE) -> Iterator[Call]:
    for path in sorted(set(root.rglob("*.py")) - {root / "__main__.py"}):
        tree = ast.parse(path.read_text())
        module = import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))
        loaded = {name: value for name, value in vars(module).items() if isinstance(value, Queries)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (found := _call(node, loaded)):
                yield _described(f"{path.relative_to(root.parent)}:{node.lineno}", node, module, *found)


def _call(node: ast.Call, loaded: dict[str, Queries]) -> tuple[str, str, str] | None:
    match node.func:
        case ast.Attribute(ast.Attribute(ast.Name(variable), query), method) if variable in loaded:
            return loaded[variable].subject, query, method
        case ast.Attribute(ast.Attribute(ast.Call(ast.Name("load"), [ast.Constant(subject)]), query), method):
            return subject, query, method
    return None


def _described(where: str, node: ast.Call, module: Any, subject: str, query: str, method: str) -> Call:
    names = None if method == "run_each" else _names(node)
    place = 0 if method == "statement" else 1
    given = node.args[place] if method in {"one", "rows", "statement"} and len(node.args) > place else None
    row = getattr(module, given.id, tuple) if isinstance(given, ast.Name) else tuple
    return Call(where, subject, query, method, names, row)


def _names(node: ast.Call) -> frozenset[str] | None:
    """None where they are spread from a dictionary whose names cannot be read here."""
    names = set[str]()
    for keyword in node.keywords:
        match keyword:
            case ast.keyword(arg=str(name)):
                names.add(name)
            case ast.keyword(value=ast.Call(ast.Name("newest_first"))):
                names |= newest_first(1, None).keys()
            case _:
                return None
    return frozenset(names)


def parameters(call: Call) -> frozenset[str]:
    return getattr(load(call.subject), call.query).parameters  # type: ignore[no-any-return]
