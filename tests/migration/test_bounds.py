"""What a browser may write is bounded in the database, and an app's rows are brought within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.types.json import Jsonb

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate
from tests.conftest import own_database
from tests.migration.conftest import APP

Owner = AsyncConnection[Any]
Furnish = Callable[[], Awaitable[UUID]]

BOUNDLESS = ("uuid", "boolean")
"""Types of which every value is like every other."""

ANN = "a1000000-0000-4000-8000-000000000000"


async def test_every_column_that_a_browser_may_write_is_bounded(owner: Owner) -> None:
    rows = await (
        await owner.execute(
            """
            select attrelid::regclass || '.' || attname
            from pg_attribute
            join pg_class c on c.oid = attrelid
            where relnamespace = 'public'::regnamespace
                and relkind in ('r', 'p')
                and attnum > 0
                and not attisdropped
                and format_type(atttypid, null) <> all (%s)
                and (
                    has_column_privilege('authenticated', attrelid, attnum, 'insert')
                    or has_column_privilege('authenticated', attrelid, attnum, 'update')
                )
                and not exists (
                    select
                    from pg_constraint
                    where conrelid = attrelid
                        and contype = 'c'
                        and convalidated
                        and conname = relname || '_' || attname || '_bound'
                        and conkey = array[attnum]
                )
            """,
            (list(BOUNDLESS),),
        )
    ).fetchall()

    assert rows == []


DEEP: Any = 1
for _ in range(16):
    DEEP = [DEEP]

EDGES: list[tuple[str, str, Any, Any]] = [
    ("tasks", "name", "x" * 500, "x" * 501),
    ("tasks", "name", "é" * 500, "é" * 501),
    ("tasks", "description", "x" * 102_400, "x" * 102_401),
    ("journal_entries", "content", "é" * 51_200, "é" * 51_200 + "x"),
    ("tasks", "due_date", "1900-01-01", "1899-12-31"),
    ("tasks", "due_date", "2200-12-31", "2201-01-01"),
    ("tasks", "due_date", "2000-01-01", "infinity"),
    ("tasks", "due_date", "2000-01-01", "0044-03-15 BC"),
    ("tasks", "due_time", "23:59:59.999999", "24:00"),
    ("projects", "deadline", "1900-01-01 00:00Z", "1899-12-31 23:59:59.999999Z"),
    ("projects", "deadline", "2200-12-31 23:59:59Z", "2201-01-01 00:00Z"),
    ("projects", "deadline", "2000-01-01Z", "-infinity"),
    ("user_analytics_preferences", "quiet_from", "23:59", "24:00"),
    ("journal_entries", "tags", ["x" * 500] * 100, ["x"] * 101),
    ("journal_entries", "tags", [], ["x" * 501]),
    ("journal_entries", "tags", ["a"], ["a", None]),
    ("journal_entries", "tags", ["a", "b"], [["a"], ["b"]]),
    ("tasks", "dependency_task_ids", [UUID(int=1)] * 100, [UUID(int=1)] * 101),
    ("tasks", "dependency_task_ids", [], [None]),
    ("tasks", "task_metadata", Jsonb("x" * 16_382), Jsonb("x" * 16_383)),
    ("tasks", "task_metadata", Jsonb(DEEP), Jsonb([DEEP])),
    ("tasks", "task_metadata", Jsonb({"a": [10**15]}), Jsonb({"a": [10**15 + 1]})),
    ("tasks", "sort_order", 10**9, 10**9 + 1),
    ("tasks", "estimated_duration", 10**9, 2**31 - 1),
    ("pillars", "time_allocation_percentage", 100, "NaN"),
]


@pytest.mark.parametrize(
    ("table", "column", "good", "bad"), EDGES, ids=[f"{t}.{c}-{str(b)[:20]}" for t, c, _, b in EDGES]
)
async def test_a_value_at_the_edge_is_taken_and_the_next_is_refused(
    table: str, column: str, good: Any, bad: Any, furnished: Furnish, browser: Any
) -> None:
    ann = await furnished()
    change = sql.SQL("update {} set {} = %s").format(sql.Identifier(table), sql.Identifier(column))

    async with browser(ann) as connection:
        assert (await connection.execute(change, (good,))).rowcount == 1

    with pytest.raises(psycopg.errors.CheckViolation):
        async with browser(ann) as connection:
            await connection.execute(change, (bad,))


LIKE_ANN = {
    "a space": "ann ",
    "a space within": "a nn",
    "no-break space": "ann\u00a0",
    "nothing to see": "a\u200bnn",
    "written from right to left": "\u202eann",
    "soft hyphen": "an\u00adn",
    "filler": "ann\u3164",
    "tag": "ann\U000e0061",
    "Cyrillic": "\u0430nn",
    "Greek capitals": "\u0391\u039d\u039d",
    "Greek": "\u03b1nn",
    "Cherokee": "\u13aann",
    "full width": "\uff41\uff4e\uff4e",
    "mathematical": "\U0001d41ann",
    "capitals": "ANN",
}


@pytest.mark.parametrize("name", LIKE_ANN.values(), ids=LIKE_ANN)
async def test_no_username_passes_for_another(name: str, furnished: Furnish, browser: Any, owner: Owner) -> None:
    ann, ben = await furnished(), await furnished()
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = 'ann'")

    with pytest.raises(psycopg.errors.UniqueViolation):
        async with browser(ben) as connection:
            await connection.execute("update user_profiles set username = %s", (name,))
    await owner.execute("delete from auth.users where id = any (%s)", ([ann, ben],))


@pytest.mark.parametrize(
    ("one", "another", "alike"),
    [
        ("Нина", "нина", True),
        ("ΝΊΚΟΣ", "νίκος", True),
        ("bill", "b1II", True),
        ("bob", "b0b", True),
        ("mark", "rnark", True),
        ("paypal", "раураӏ", True),
        ("e\u0301va", "éva", True),
        ("anna", "ann", False),
        ("ann.b", "ann_b", False),
        ("éva", "eva", False),
        ("ゆき", "ゆぎ", False),
        ("ann2", "ann3", False),
    ],
)
async def test_names_are_alike_if_they_look_so(one: str, another: str, alike: bool, owner: Owner) -> None:
    row = await (
        await owner.execute("select coach.username_key(%s) = coach.username_key(%s)", (one, another))
    ).fetchone()
    assert row == (alike,)


@pytest.mark.parametrize("name", [" ", "\u200b", "\u3164\u00a0"])
async def test_a_username_that_nobody_can_see_is_refused(name: str, furnished: Furnish, browser: Any) -> None:
    ann = await furnished()
    with pytest.raises(psycopg.Error, match="a character that can be seen"):
        async with browser(ann) as connection:
            await connection.execute("update user_profiles set username = %s", (name,))


HOSTILE = f"""
    alter table public.tasks
        add description text, add due_date date, add due_time time, add completed_at timestamptz,
        add updated_at timestamptz default now();
    create table public.journal_entries (
        id uuid primary key default gen_random_uuid(), user_id uuid references auth.users (id) on delete cascade,
        title text, content text, tags text[], created_at timestamptz
    );
    insert into public.tasks
        (user_id, name, description, due_date, due_time, updated_at, completed, completed_at) values
        ('{ANN}', 'end of time', repeat('é', 60000), 'infinity', '24:00', '-infinity', true, 'infinity'),
        ('{ANN}', repeat('n', 501), 'plain', '0044-03-15 BC', '09:00', '9999-12-31', false, null);
    insert into public.tasks (user_id, name, dependency_task_ids, task_metadata) values
        ('{ANN}', 'lists', array[null, '{ANN}']::uuid[], jsonb_build_object('n', 1e300));
    insert into public.journal_entries (user_id, title, content, tags, created_at) values
        ('{ANN}', 'long', repeat('word ', 4000000), array['a', null, repeat('t', 600)], '-infinity');
    insert into auth.users (id) values ('c3000000-0000-4000-8000-000000000000');
    insert into public.user_profiles (id, username, timezone, created_at) values
        ('c3000000-0000-4000-8000-000000000000', U&'\\0430nn', 'UTC', 'infinity');
"""


@pytest.fixture(scope="module")
def hostile(cluster: EmbeddedServer) -> Iterator[tuple[psycopg.Connection[Any], list[str]]]:
    """An app's database with rows that are out of bounds, adopted; and what was reported."""
    report: list[str] = []
    with own_database(cluster) as name, psycopg.connect(cluster.url(name), autocommit=True) as connection:
        connection.execute(APP.read_bytes())
        connection.execute(HOSTILE.encode())
        asyncio.run(migrate(cluster.url(name), report=report.append))
        connection.execute("set search_path = public, extensions")
        yield connection, report


def test_an_apps_rows_are_brought_within_bounds_and_nothing_is_lost(
    hostile: tuple[psycopg.Connection[Any], list[str]],
) -> None:
    app, report = hostile
    tasks = app.execute(
        "select left(name, 3), length(name), octet_length(description), due_date::text, due_time::text,"
        " completed_at::text, updated_at between now() - interval '1 h' and now(), dependency_task_ids::text[]"
        " from tasks where name in ('end of time', 'lists', repeat('n', 500)) order by name"
    ).fetchall()
    assert tasks == [
        ("end", 11, 102_400, None, "23:59:59", None, True, []),
        ("lis", 5, None, None, None, None, True, [ANN]),
        ("nnn", 500, 5, None, "09:00:00", None, True, []),
    ]
    entry = app.execute("select octet_length(content), tags[1], length(tags[2]) from journal_entries").fetchall()
    assert entry == [(102_400, "a", 500)]

    kept = dict(app.execute("select table_name || '.' || column_name, old_value from coach.repaired_values").fetchall())
    assert kept["journal_entries.content"] == "word " * 4_000_000
    assert kept["journal_entries.tags"] == ["a", None, "t" * 600]
    assert kept["journal_entries.created_at"] == "-infinity"
    assert kept["tasks.due_time"] == "24:00:00"
    assert kept["tasks.completed_at"] == "infinity"
    assert kept["tasks.dependency_task_ids"] == [None, ANN]
    assert kept["tasks.task_metadata"] == {"n": 10**300}
    days = app.execute(
        "select old_value #>> '{}' from coach.repaired_values where column_name = 'due_date' order by 1"
    ).fetchall()
    assert days == [("0044-03-15 BC",), ("infinity",)]
    assert "public.tasks: due_date was out of bounds in 2 rows; repaired, and kept in coach.repaired_values" in report


def test_what_was_kept_of_a_user_goes_with_them(hostile: tuple[psycopg.Connection[Any], list[str]]) -> None:
    app, _ = hostile
    with app.transaction(force_rollback=True):
        app.execute("delete from auth.users where id = %s", (ANN,))
        assert app.execute("select count(*) from coach.repaired_values where user_id = %s", (ANN,)).fetchone() == (0,)


def test_of_two_usernames_that_look_alike_the_older_has_it(
    hostile: tuple[psycopg.Connection[Any], list[str]],
) -> None:
    app, report = hostile
    assert app.execute("select user_id::text from coach.usernames").fetchall() == [(ANN,)]
    assert "public.user_profiles: 1 usernames look like another; kept until they change" in report
