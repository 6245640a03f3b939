"""A column of any type is read as ours, value by value; what does not fit is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

Connection = psycopg.Connection[Any]

DATE, TIME, MOMENT = "date", "time without time zone", "timestamp with time zone"


@pytest.fixture
def owned(owner_url: str) -> Iterator[Connection]:
    """A transaction of the owner's that comes to nothing."""
    with psycopg.connect(owner_url) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
        connection.rollback()


def convert(owned: Connection, found: str, value: str, wanted: str, zone: str = "UTC") -> tuple[str | None, int]:
    """What the value becomes, as text, and how many values were kept since they do not fit."""
    user = uuid4()
    owned.execute("insert into auth.users (id) values (%s)", (user,))
    owned.execute("insert into user_profiles (id, timezone) values (%s, %s)", (user, zone))
    make = "create table public.scratch (id uuid default gen_random_uuid(), user_id uuid, v {})"
    owned.execute(sql.SQL(make).format(sql.SQL(found)))  # type: ignore[arg-type]
    insert = sql.SQL("insert into public.scratch (user_id, v) values ({}, {})")
    owned.execute(insert.format(user, sql.SQL(value)))  # type: ignore[arg-type]
    owned.execute("select coach.convert_column('public.scratch', 'v', %s, 'user_id')", (wanted,))
    row = owned.execute("""
        select v::text, (select count(*) from coach.system_log where webhook_type = 'adoption_converted')
        from public.scratch
    """).fetchone()
    assert row
    return row[0], row[1]


@pytest.mark.parametrize(
    ("found", "value", "wanted", "expected"),
    [
        ("text", "'09:30'", TIME, "09:30:00"),
        ("text", "'9:30 PM'", TIME, "21:30:00"),
        ("text", "' Noon '", TIME, "12:00:00"),
        ("varchar(20)", "'midnight'", TIME, "00:00:00"),
        ("timestamptz", "'2026-03-01 09:30+00'", TIME, "09:30:00"),
        ("text", "'2026-03-01T22:15:00Z'", DATE, "2026-03-01"),
        ("timestamp", "'2026-03-01 22:15'", MOMENT, "2026-03-01 22:15:00+00"),
        ("date", "'2026-03-01'", MOMENT, "2026-03-01 00:00:00+00"),
        ("text", "'2026-03-01'", MOMENT, "2026-03-01 00:00:00+00"),
        ("bigint", "1764000000000", MOMENT, "2025-11-24 16:00:00+00"),
        ("text", "'1764000000'", MOMENT, "2025-11-24 16:00:00+00"),
        ("numeric", "1764000000", DATE, "2025-11-24"),
        ("text", "'45'", "integer", "45"),
        ("double precision", "3", "integer", "3"),
        ("boolean", "true", "integer", "1"),
        ("integer", "1", "boolean", "true"),
        ("text", "'no'", "boolean", "false"),
        ("timestamptz", "now()", "boolean", "true"),
        ("jsonb", """'["a", "b c"]'""", "text[]", '{a,"b c"}'),
        ("text", "'a, b c'", "text[]", '{a,"b c"}'),
        ("varchar[]", "array['a']", "text[]", "{a}"),
        ("json", """'["a1000000-0000-4000-8000-000000000000"]'""", "uuid[]", "{a1000000-0000-4000-8000-000000000000}"),
        ("json", """'{"a":1}'""", "jsonb", '{"a": 1}'),
        ("text", """'{"a":1}'""", "jsonb", '{"a": 1}'),
        ("text[]", "array['a']", "jsonb", '["a"]'),
        ("char(8)", "'abc'", "text", "abc"),
        ("integer", "7", "text", "7"),
        ("real", "2.5", "numeric(5,2)", "2.50"),
        ("text", "'a1000000-0000-4000-8000-000000000000'", "uuid", "a1000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_value_keeps_what_it_says(owned: Connection, found: str, value: str, wanted: str, expected: str) -> None:
    assert convert(owned, found, value, wanted) == (expected, 0)


@pytest.mark.parametrize(
    ("found", "value", "wanted", "expected"),
    [
        ("text", "'after lunch'", TIME, None),
        ("text", "'24:00'", TIME, None),
        ("text", "'now'", MOMENT, None),
        ("text", "'infinity'", DATE, None),
        ("text", "'30/02/2026'", DATE, None),
        ("text", "'an hour'", "integer", None),
        ("bigint", "3000000000", "integer", None),
        ("numeric", "2.6", "integer", "3"),
        ("numeric", "12345.6", "numeric(5,2)", None),
        ("jsonb", """'{"a": 1}'""", "text[]", None),
        ("text", "'weekly'", "jsonb", None),
        ("text", "'perhaps'", "boolean", None),
        ("text", "'42'", "uuid", None),
    ],
)
def test_a_value_that_does_not_fit_is_kept(
    owned: Connection, found: str, value: str, wanted: str, expected: str | None
) -> None:
    assert convert(owned, found, value, wanted) == (expected, 1)


@pytest.mark.parametrize(
    ("moment", "zone", "day", "kept"),
    [
        ("2026-03-01 00:00+00", "America/New_York", "2026-03-01", 0),  # a day, as an app stores one
        ("2026-03-01 23:30+00", "Europe/Berlin", "2026-03-02", 1),
        ("2026-03-01 03:00+00", "America/New_York", "2026-02-28", 1),
    ],
)
def test_a_moments_day_is_its_users_own(owned: Connection, moment: str, zone: str, day: str, kept: int) -> None:
    assert convert(owned, "timestamptz", f"'{moment}'", DATE, zone) == (day, kept)
