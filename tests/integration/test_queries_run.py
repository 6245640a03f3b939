"""Named queries as they run: rows by name, and a wrong call that says which query it was."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from msgspec import Struct
from psycopg.pq import ExecStatus

from coach.database.pool import Database
from coach.database.queries import Query, WrongParameters, load
from tests.query_calls import Call, calls, parameters

AREA = "select 'Running' as name, 9 as importance where %(wanted)s"


class Area(Struct):
    importance: int
    name: str


class Pair(NamedTuple):
    importance: int
    name: str


def query(text: str = AREA, *parameters: str) -> Query:
    return Query("made_up.area", text, parameters or ("wanted",))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", [Area, Pair])
async def test_a_row_becomes_an_object_by_the_names_of_its_columns(db: Database, row: type[Any]) -> None:
    async with db.as_login_role() as tx:
        assert await query().one(tx, row, wanted=True) == row(importance=9, name="Running")
        assert await query().rows(tx, row, wanted=True) == [row(importance=9, name="Running")]
        assert await query().one(tx, row, wanted=False) is None


async def test_a_statement_that_travels_with_others_brings_its_own_rows(db: Database) -> None:
    areas, plain = await db.once(uuid4(), query().statement(Area, wanted=True), query().statement(wanted=True))
    assert areas == [Area(importance=9, name="Running")]
    assert plain == [("Running", 9)]


async def test_a_value_is_the_only_column(db: Database) -> None:
    now = datetime.now(UTC)
    count = query("select n from generate_series(1, %(most)s::integer) n", "most")
    async with db.as_login_role() as tx:
        assert await query("select %(now)s::timestamptz as now", "now").value(tx, now=now) == now
        assert await count.values(tx, most=3) == [1, 2, 3]
        assert await count.value(tx, most=0) is None


async def test_changed_rows_are_counted(db: Database, owner: Any) -> None:
    await owner.execute("create temporary table made_up (n integer)")
    add = query("insert into made_up values (%(n)s)", "n")
    assert await add.run(owner, n=1) == 1
    assert await add.run_each(owner, [{"n": 2}, {"n": 3}]) == 2


@pytest.mark.parametrize("wrong", [{}, {"wanted": True, "want": True}, {"want": True}])
async def test_a_call_with_other_parameters_names_the_query(db: Database, wrong: dict[str, Any]) -> None:
    async with db.as_login_role() as tx:
        for call in (query().one(tx, Area, **wrong), query().value(tx, **wrong), query().run_each(tx, [wrong])):
            with pytest.raises(WrongParameters, match=r"^made_up.area: missing .*unknown"):
                await call
    with pytest.raises(WrongParameters, match=r"^made_up.area: "):
        query().statement(**wrong)


def columns_of(owner: Any, call: Call) -> list[str] | None:
    """What PostgreSQL says that the query returns; None where it cannot tell a parameter's type by the text alone."""
    names = sorted(parameters(call))
    text = getattr(load(call.subject), call.query).sql.replace("%%", "%")
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    prepared = owner.pgconn.prepare(b"", text.encode())
    if prepared.status != ExecStatus.COMMAND_OK:
        return None
    described = owner.pgconn.describe_prepared(b"")
    return [described.fname(place).decode() for place in range(described.nfields)]


def test_each_row_has_the_columns_that_its_class_has_fields(owner_url: str) -> None:
    """All calls of the product, each query described by the database itself."""
    classes = [call for call in calls() if call.row not in (tuple, dict)]
    told, wrong = 0, list[tuple[str, str]]()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for call in classes:
            columns = columns_of(owner, call)
            if columns is None:
                continue
            told += 1
            fields = inspect.signature(call.row).parameters
            needed = {name for name, field in fields.items() if field.default is inspect.Parameter.empty}
            if not needed <= set(columns) <= set(fields):
                wrong.append((call.where, f"{call.query}: {columns} for {list(fields)}"))
    assert wrong == []
    assert told >= len(classes) * 0.9
