"""Extremes in every column that a browser may write: each is refused, or all that reads it goes on, for everybody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from coach.database.pool import Database
from coach.nudges.repository import make_nudges
from coach.pipeline.jobs import refresh_views
from coach.pipeline.worker import Worker
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.conftest import UNBOUND
from tests.live.conftest import ApiUser

COLUMNS = """
    select relname, attname, format_type(atttypid, null),
        has_column_privilege('authenticated', c.oid, attnum, 'insert'),
        has_column_privilege('authenticated', c.oid, attnum, 'update')
    from pg_attribute
    join pg_class c on c.oid = attrelid
    where relnamespace = 'public'::regnamespace
        and relkind in ('r', 'p')
        and attnum > 0
        and not attisdropped
        and (
            has_column_privilege('authenticated', c.oid, attnum, 'insert')
            or has_column_privilege('authenticated', c.oid, attnum, 'update')
        )
        and exists (select from pg_policy where polrelid = c.oid and polcmd in ('*', 'a', 'w') and polpermissive)
    order by relname, attnum
"""


def nested(depth: int) -> Any:
    """As text: Python could not write it."""
    return sql.SQL("{}::jsonb").format(sql.Literal("[" * depth + "]" * depth))


def number(text: str) -> Any:
    return sql.SQL("jsonb_build_object('energy_requirement', {0}::numeric, 'n', {0}::numeric)").format(
        sql.Literal(text)
    )


MOMENTS = ["-infinity", "infinity", "0044-03-15 BC", "4713-01-01 BC", "0001-01-01", "1899-12-31", "1900-01-01 00:00Z",
           "2200-12-31 23:59:59Z", "2201-01-01", "9999-12-31", "294276-12-31", "now"]  # fmt: skip
POINT = {"timestamp": "2200-12-31T23:59:59Z", "alignment_score": 1, "focus_time_minutes": 1e6, "n": -1e15}

EXTREMES: dict[str, list[Any]] = {
    "text": ["", " ", "x" * 500, "x" * 501, "x" * 102_400, "x" * 102_401, "﷽" * 500,
             "\u202e\u200b\ufeff\x01\x7f", "%s {0} \\ ' \" <script>", "\n" * 500, "[1] ↑ \n↑ Part of nothing.",
             "-infinity", "Etc/GMT+12", "Pacific/Kiritimati", "9" * 500],
    "character varying": [],
    "date": [*MOMENTS[:-1], "today"],
    "timestamp with time zone": MOMENTS,
    "time without time zone": ["24:00", "00:00", "23:59:59.999999"],
    "text[]": [[], [None], ["a", None], ["a"] * 100, ["a"] * 101, [["a"], ["b"]], ["x" * 500] * 100, ["x" * 501], [""]],
    "uuid[]": [[], [None], [uuid4()] * 100, [uuid4()] * 101, [[uuid4()], [uuid4()]]],
    "jsonb": [*map(Jsonb, (None, [], {}, "x", 7, True, [7], [[]], [None], "x" * 16_000, "x" * 20_000,
              {"energy_requirement": [1], "context_tags": {"a": None}}, {"context_tags": [None, 1]},
              {"context_tags": ["x" * 8_000]}, [POINT], [POINT | {"timestamp": "now"}], [POINT] * 300,
              *([POINT | {"timestamp": f"{day}T00:00+14:00"}] for day in ("0001-01-01", "1900-01-02", "9999-12-31")))),
             nested(16), nested(17), nested(3_000), number("1e15"), number("1e300"), number("9" * 5_000),
                number("0.1")],
    "integer": [-(2**31), 2**31 - 1, -(10**9), 10**9, -1, 0, 1],
    "bigint": [-(2**63), 2**63 - 1, -(10**9), 10**9, -1, 0],
    "numeric": ["NaN", "Infinity", "-1", "0", "100", "99.999", "999.99"],
    "boolean": [False, True],  # a consent stays given
    "uuid": [UUID(int=0), UUID(int=2**128 - 1)],
}  # fmt: skip
EXTREMES["character varying"] = EXTREMES["text"]

NEEDED: dict[str, dict[str, Any]] = {
    "tasks": {"name": "t"},
    "pillars": {"name": "p"},
    "areas": {"name": "a"},
    "projects": {"name": "j"},
    "user_behavior_events": {"action_type": "feature_used"},
}
"""What a row of a table needs beside the extreme. A table with one row a user is changed instead."""

ONE_ROW = ("user_profiles", "user_analytics_preferences")
REFUSALS = ("22", "23", "54", "CA", "42501")
"""A value that is none, a bound, a size, a rule of ours, a row that is not one's own."""


@pytest.mark.parametrize("has_bounds", [True, False], ids=["bounded", "as if a bound were forgotten"])
async def test_no_value_that_a_browser_may_write_breaks_anything(
    has_bounds: bool,
    ann: ApiUser,
    person: Any,
    owner: AsyncConnection[Any],
    owner_url: str,
    worker_db: Database,
) -> None:
    if not has_bounds:
        await owner.execute(UNBOUND)
    ben, now = await person(), datetime.now(UTC)
    await owner.execute(
        "insert into tasks (user_id, name, due_date) values (%s, 'Book the MRI', current_date - 3)", (ben.user_id,)
    )
    await owner.execute(
        "insert into commitments (user_id, title, due_date, status, task_id)"
        " select user_id, name, due_date, 'accepted', id from tasks where user_id = %s",
        (ben.user_id,),
    )
    await owner.execute("insert into user_analytics_preferences (user_id) values (%s)", (ann.user_id,))
    await owner.execute(
        "insert into user_analytics_preferences (user_id, quiet_from, quiet_until) values (%s, '00:00', '00:00')",
        (ben.user_id,),
    )
    columns = await (await owner.execute(COLUMNS)).fetchall()
    assert {"tasks", "journal_entries", "user_profiles", "user_behavior_events"} <= {table for table, *_ in columns}

    async with await AsyncConnection.connect(owner_url) as browser:
        await browser.execute("set role authenticated")
        claims = json.dumps({"sub": str(ann.user_id), "role": "authenticated"})
        await browser.execute(sql.SQL('set "request.jwt.claims" = {}').format(sql.Literal(claims)))
        await browser.commit()
        taken = 0
        for table, column, kind, may_insert, may_update in columns:
            for value in [*EXTREMES[kind], None]:
                if not has_bounds and isinstance(value, str) and len(value) > 1_000:
                    continue  # a name of 100 kB in each of its pieces takes a minute
                taken += await _written(browser, ann.user_id, table, column, value, may_insert, may_update)
    assert taken > 300

    worker = Worker(worker_db, WordllamaEmbedder())
    for _ in range(3):  # a row that names others queues them
        await worker.work()
    left = await (await owner.execute("select user_id, left(last_error, 20) from embedding_queue")).fetchall()
    assert set(left) == (set() if has_bounds else {(ann.user_id, "It could not be read")})
    stored = "select count(distinct entity_id) from user_metadata_embeddings where user_id = %s"
    assert await (await owner.execute(stored, (ben.user_id,))).fetchone() == (1,)
    ((remembered,),) = await (await owner.execute(stored, (ann.user_id,))).fetchall()
    assert remembered > 100
    await make_nudges(worker_db, now)
    assert await (await owner.execute("select kind from nudges where user_id = %s", (ben.user_id,))).fetchall() == [
        ("overdue_commitment",)
    ]
    await refresh_views(worker_db, now)
    for reader in (ann, ben):
        await _everything_is_read(reader)


async def _written(
    browser: AsyncConnection[Any], me: UUID, table: str, column: str, value: Any, may_insert: bool, may_update: bool
) -> bool:
    """Whether the database took it."""
    placed = value if isinstance(value, sql.Composable) else sql.Placeholder()
    values = [] if isinstance(value, sql.Composable) else [value]
    if table in ONE_ROW or not may_insert:
        if not may_update or column in ("id", "user_id"):
            return False
        statement = sql.SQL("update {} set {} = {}").format(sql.Identifier(table), sql.Identifier(column), placed)
    else:
        row = {"user_id": me} | NEEDED.get(table, {})
        row.pop(column, None)
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, [column, *row])),
            sql.SQL(", ").join([placed, *[sql.Placeholder()] * len(row)]),
        )
        values += row.values()
    try:
        async with browser.transaction():
            await browser.execute(statement, values)
    except psycopg.Error as refusal:
        if not (refusal.sqlstate or "").startswith(REFUSALS):
            raise
        return False
    return True


async def _everything_is_read(reader: ApiUser) -> None:
    """Every route that reads, and a turn."""
    paths = (await reader.client.get("/schema/openapi.json")).json()["paths"]
    reading = [path for path, told in paths.items() if "get" in told and path.startswith("/api") and "{" not in path]
    assert {"/api/search", "/api/me/suggestions", "/api/memory", "/api/nudges"} <= set(reading)
    for path in reading:
        response = await reader.gets(f"{path}?q=task" if path == "/api/search" else path)
        assert response.status_code in (200, 404, 426), f"{path}: {response.status_code} {response.text[:300]}"
    for question in ("What have I been putting off?", "What did I write about the word?"):
        answer = await reader.asks(question)
        assert answer.status == 200
        assert answer.parts[-1]["type"] == "finish", answer.parts[-1]
        assert not [part for part in answer.parts if part["type"] == "error"]
