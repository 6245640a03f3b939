"""Named queries: what reaches psycopg is what was meant, and each says what a reader needs to know."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import aiosql
import pytest

from coach.database.queries import load
from coach.resources import SQL
from tests.query_calls import Call, calls, parameters

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


FITTING = {"^": {"one"}, "$": {"value"}, "!": {"run"}, "*!": {"run_each"}, "#": {"run"}, "": {"rows", "values"}}


@pytest.fixture(scope="module")
def all_calls() -> list[Call]:
    return list(calls())


def test_each_call_gives_the_parameters_that_the_query_names(all_calls: list[Call]) -> None:
    spelled = [call for call in all_calls if call.names is not None]
    assert [call for call in spelled if call.names != parameters(call)] == []
    assert len(spelled) > 100


def test_each_call_asks_for_what_the_sign_of_the_query_says(all_calls: list[Call]) -> None:
    signs = {
        (file.stem, name): re.search(rf"^-- name: {name}(?:\(.*?\))?(\W*)$", file.read_text(), re.MULTILINE)[1]  # type: ignore[index]
        for file in FILES
        for name, _ in declarations(file.read_text())
    }
    others = [call for call in all_calls if call.method != "statement"]
    assert [call for call in others if call.method not in FITTING[signs[call.subject, call.query]]] == []


def test_a_query_that_does_not_exist_says_where_it_was_looked_for() -> None:
    with pytest.raises(AttributeError, match=r"sql/queries/chat.sql has no query 'opning'"):
        load("chat").opning  # noqa: B018


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("_sql.lock_quota_month.one(tx, tuple, user_id=1)", "missing month"),
        ("_sql.lock_quota_month.one(tx, tuple, user_id=1, month=2, year=3)", "unknown year"),
    ],
)
def test_a_wrong_call_is_seen(source: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "madeup"
    package.mkdir()
    (package / "wrong.py").write_text(
        f'from coach.database.queries import load\n_sql = load("chat")\nasync def f(tx):\n    await {source}\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "madeup.wrong", raising=False)
    monkeypatch.delitem(sys.modules, "madeup", raising=False)
    (call,) = calls(package)
    assert call.names != parameters(call), wrong
