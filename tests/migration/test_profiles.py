"""Time zones and usernames, held by the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.errors import InvalidParameterValue

Owner = AsyncConnection[Any]
Furnish = Callable[[], Awaitable[UUID]]
Value = Callable[..., Awaitable[Any]]


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "A/B3", "EST5", "posix/UTC", "localtime", "+02:00", "europe/berlin"]
)
async def test_a_time_zone_that_is_none_is_refused(furnished: Furnish, browser: Any, zone: str) -> None:
    ann = await furnished()

    with pytest.raises(InvalidParameterValue, match="timezone"):
        async with browser(ann) as connection:
            await connection.execute("update user_profiles set timezone = %s", (zone,))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
async def test_iana_time_zones_are_taken(furnished: Furnish, browser: Any, zone: str) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute("update user_profiles set timezone = %s", (zone,))


async def test_a_username_changes_once_in_seven_days(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
) -> None:
    ann = await furnished()
    names = [f"{name}{ann.hex[:8]}" for name in ("ann", "anna", "annie")]
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (names[0],))
        await connection.execute("update user_profiles set username = %s", (names[1],))

    for wish in (names[2], None):
        with pytest.raises(psycopg.Error, match="every 7 days") as refusal:
            async with browser(ann) as connection:
                await connection.execute("update user_profiles set username = %s", (wish,))
        assert refusal.value.sqlstate == "CA001"
        assert datetime.fromisoformat(refusal.value.diag.message_detail or "") > NOW + timedelta(days=6)

    await owner.execute(
        "update user_profiles set last_username_change = now() - interval '7 days 1 s' where id = %s", (ann,)
    )
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (names[2],))
    key = await value(owner, "select coach.username_key(%s)", names[2])
    assert await value(owner, "select username from coach.usernames where user_id = %s", ann) == key


async def test_a_username_is_unique_whatever_its_case_and_free_again_after_its_user(
    owner: Owner, furnished: Furnish, browser: Any
) -> None:
    ann, ben = await furnished(), await furnished()
    name = f"Ann{ann.hex[:8]}"
    async with browser(ann) as connection:
        await connection.execute("update user_profiles set username = %s", (name,))

    with pytest.raises(psycopg.errors.UniqueViolation):
        async with browser(ben) as connection:
            await connection.execute("update user_profiles set username = %s", (name.upper(),))
    await owner.execute("delete from auth.users where id = %s", (ann,))
    async with browser(ben) as connection:
        await connection.execute("update user_profiles set username = %s", (name.upper(),))
