"""The pool under the database's faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coach.database.pool import Database
from coach.errors import DatabaseUnavailable
from tests.integration.test_round_trips import until_sleeping


async def test_after_the_server_cut_every_connection_the_next_transaction_works(
    database_url: str, owner: Any, new_user: Any
) -> None:
    db = Database(database_url, min_size=6, max_size=6)
    await db.open()
    user = await new_user()
    await owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'coach_server' and datname = current_database()"
    )
    for _ in range(8):
        async with db.as_user(user) as tx:
            assert await (await tx.execute("select count(*) from user_profiles")).fetchone() == (1,)
    await db.close()


async def test_after_a_long_outage_a_connection_is_tried_as_soon_as_it_is_needed(database_url: str, owner: Any) -> None:
    db = Database(database_url, max_size=1)
    await db.open(wait=0.5)
    await owner.execute("alter role coach_server nologin")
    try:
        await owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'coach_server'")
        for _ in range(8):  # four seconds: the pool's own next attempt would be three seconds away
            with pytest.raises(DatabaseUnavailable):
                await works(db)
    finally:
        await owner.execute("alter role coach_server login")
    async with asyncio.timeout(2.5):
        while not await works(db, is_patient=True):
            pass
    await db.close()


async def works(db: Database, *, is_patient: bool = False) -> bool:
    try:
        async with db.as_login_role() as tx:
            await tx.execute("select 1")
    except DatabaseUnavailable:
        if is_patient:
            return False
        raise
    return True


async def test_a_connection_cut_inside_a_transaction_is_the_callers_to_see(db: Database, owner: Any) -> None:
    async def cut() -> None:
        async with db.as_login_role() as tx:
            await owner.execute("select pg_terminate_backend(%s)", (tx.info.backend_pid,))
            await tx.execute("select 1")

    with pytest.raises(DatabaseUnavailable):
        await cut()
    async with db.as_login_role() as tx:
        await tx.execute("select 1")


async def test_a_pool_with_nothing_free_says_so_and_leaks_nothing(database_url: str, new_user: Any) -> None:
    db = Database(database_url, min_size=1, max_size=1)
    await db.open()
    assert db._pool is not None
    user = await new_user()
    async with db.as_user(user):
        db._pool.timeout = 0.5
        with pytest.raises(DatabaseUnavailable, match="free"):
            async with db.as_user(user):
                pass
        db._pool.timeout = 30
    async with db.as_user(user):
        pass
    await db.close()


async def test_a_cancelled_transaction_gives_its_connection_back_rolled_back(
    database_url: str, owner: Any, new_user: Any
) -> None:
    db = Database(database_url, min_size=1, max_size=1)
    await db.open()
    user = await new_user()

    async def slow() -> None:
        async with db.as_user(user) as tx:
            await tx.execute("update user_profiles set first_name = 'Half'")
            await tx.execute("select pg_sleep(30)")

    task = asyncio.create_task(slow())
    await until_sleeping(owner)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.as_user(user) as tx:
        assert await (await tx.execute("select first_name from user_profiles")).fetchone() == (None,)
    await db.close()


async def test_a_transaction_leaves_nothing_on_the_session(database_url: str, new_user: Any) -> None:
    db = Database(database_url, min_size=1, max_size=1)
    await db.open()
    async with db.as_user(await new_user()) as tx:
        await tx.execute("select 1")
    async with db.as_login_role() as tx:
        row = await (
            await tx.execute("select current_user::text, current_setting('request.jwt.claims', true)")
        ).fetchone()
        assert row[0] == "coach_server"
        assert not row[1]
    await db.close()


async def test_an_unreachable_database_is_named_without_its_password() -> None:
    db = Database("postgresql://ann:hunter2secret@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable) as caught:
        await db.open(wait=10)
    assert "refused" in str(caught.value)
    assert "hunter2secret" not in str(caught.value)
