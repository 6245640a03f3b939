"""Named queries: what reaches psycopg is what was meant, and each says what a reader needs to know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import aiosql
import pytest

from coach.resources import SQL

FILES = sorted((SQL / "queries").glob("*.sql"))
NAMED = re.compile(r"^-- name: (\w+)(?:\(([^)]*)\)(?:\^|\$|\*?!)?|#)$", re.MULTILINE)
CALLED_BY_COMPUTED_NAME = {"pipeline": "entities.py calls the query of each table by the table's name"}


def traps(text: str) -> list[str]:
    """What aiosql's adapter and psycopg between them would take for something else.

    A bare ``%`` is a placeholder, in a comment at a line's end too; an apostrophe there opens a string; ``[1:2]`` is
    read as a parameter named 2, and any ``:word`` that is no parameter as one.
    """
    found = []
    for name, declared in declarations(text):
        sql = getattr(aiosql.from_str(text, "apsycopg"), name).sql
        if set(re.findall(r"%\((\w+)\)s", sql)) != declared:
            found.append(f"{name}: its parameters are not those it names")
        if "%" in re.sub(r"%\(\w+\)s|%%", "", sql):
            found.append(f"{name}: a bare %")
        if any("'" in line.split("-- ", 1)[1] for line in sql.splitlines() if "-- " in line):
            found.append(f"{name}: an apostrophe in a comment beside SQL")
    return found


def declarations(text: str) -> Iterator[tuple[str, set[str]]]:
    for match in NAMED.finditer(text):
        yield match[1], {name.strip() for name in (match[2] or "").split(",") if name.strip()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_sent_is_what_was_written(file: Path) -> None:
    assert traps(file.read_text()) == []


@pytest.mark.parametrize(
    "body",
    [
        "select a[1:2]",
        "select 7 % 2",
        "select '100%'",
        "select 1 -- 10 % of it",
        "select 7 %%% 2",
        "select 1 -- it's one",
    ],
)
def test_each_trap_is_seen(body: str) -> None:
    assert traps(f"-- name: one()\n{body};\n") != []


@pytest.mark.parametrize("body", ["select a[:n]", "select 1 -- see :note"])
def test_what_looks_like_a_parameter_does_not_even_load(body: str) -> None:
    with pytest.raises(aiosql.SQLParseException):
        traps(f"-- name: one()\n{body};\n")


@pytest.mark.parametrize(
    "body", ["select 7 %% 2", "select ':x'", "select :a::int[]", "select 'it''s' -- fine", "-- it's 5 %\nselect :a"]
)
def test_what_is_fine_passes(body: str) -> None:
    assert traps(f"-- name: one({'a' if ':a' in body else ''})\n{body};\n") == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_name_declares_its_parameters_and_stands_once(file: Path) -> None:
    heads = [line for line in file.read_text().splitlines() if line.startswith("-- name:")]
    assert [head for head in heads if not NAMED.match(head)] == []
    assert len({name for name, _ in declarations(file.read_text())}) == len(heads) > 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_query_is_called(file: Path) -> None:
    source = "\n".join(path.read_text() for path in (SQL.parent / "coach").rglob("*.py"))
    uncalled = [name for name, _ in declarations(file.read_text()) if not re.search(rf"\.{name}\b", source)]
    assert uncalled == [] or file.stem in CALLED_BY_COMPUTED_NAME
