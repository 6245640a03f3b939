"""A step for each user: done for all who can be done, and one error for the others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from coach.database.for_each_user import Outcome, for_each_user, require_all
from coach.database.pool import Database, Transaction
from coach.errors import NotAllDone

RENAME = "update pillars set name = case when name = 'Bad' then null else 'Renamed' end where user_id = %s"


BAD_YEAR = "year 10000"


async def rename(tx: Transaction, user_id: UUID) -> int:
    return (await tx.execute(RENAME, (user_id,))).rowcount


async def names(owner: Any) -> dict[UUID, str]:
    return {user_id: name async for user_id, name in await owner.execute("select user_id, name from pillars")}


async def test_one_users_trouble_is_not_everybodys(
    worker_db: Database, db: Database, new_user: Any, owner: Any
) -> None:
    bad, busy, fine = [await new_user() for _ in range(3)]
    for user, name in ((bad, "Bad"), (busy, "Busy"), (fine, "Fine")):
        await owner.execute("insert into pillars (user_id, name) values (%s, %s)", (user, name))

    with capture_logs() as lines:
        async with db.as_user(busy) as tx:
            await tx.execute("update pillars set name = 'My own'")
            outcome = await for_each_user(worker_db, "renaming", [bad, busy, fine], rename)

    assert outcome == Outcome("renaming", {fine: 1}, [busy], [bad])
    found = await names(owner)
    assert (found[bad], found[busy], found[fine]) == ("Bad", "My own", "Renamed")
    assert {line["event"] for line in lines} == {"user_step_failed", "users_busy"}
    with pytest.raises(NotAllDone, match=r"\(renaming: 1\)"):
        require_all(outcome, Outcome("resting"))


async def test_what_breaks_outside_the_database_is_one_users_trouble_too(worker_db: Database, new_user: Any) -> None:
    bad, fine = await new_user(), await new_user()

    async def read(tx: Transaction, user_id: UUID) -> int:
        return int(BAD_YEAR if user_id == bad else "1")

    with capture_logs() as lines:
        outcome = await for_each_user(worker_db, "reading", [bad, fine], read)

    assert outcome == Outcome("reading", {fine: 1}, [], [bad])
    assert BAD_YEAR not in repr(lines)


async def test_who_is_busy_is_no_fault() -> None:
    require_all(Outcome("resting", {1: None}, [2], []))
