"""People write while the worker stores: nobody waits for long, and it is never theirs that fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.chat.orphans import close_orphans
from coach.database import operators
from coach.database.pool import Database
from coach.nudges.repository import make_nudges
from coach.pipeline.queue import ATTEMPTS, Batch, Queue
from coach.pipeline.worker import Worker
from coach.values.clock import utc_now
from tests.integration.pipeline.conftest import PipelineUser, until
from tests.integration.test_ledger import Desk

Make = Callable[[], Awaitable[PipelineUser]]

DUE = "select count(*) from embedding_queue where user_id = %(me)s and leased_until < now() and not_before <= now()"
ATTEMPTED = "select max(attempts) from embedding_queue where user_id = %(me)s"


@pytest.fixture
async def other(owner_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection of an application's, in a transaction that it leaves open."""
    async with await AsyncConnection.connect(owner_url) as connection:
        yield connection
        await connection.rollback()


async def due(person: PipelineUser) -> int:
    ((count,),) = await person.rows(DUE)
    return int(count)


async def test_an_open_transaction_delays_no_other_user(
    ann: PipelineUser, someone: Make, worker: Worker, other: AsyncConnection[Any]
) -> None:
    ben = await someone()
    for person in (ann, ben):
        await person.adds_task("Buy shoes")
    await other.execute("select from user_profiles where id = %s for update", (ann.id,))

    await asyncio.wait_for(worker.work(), 30)

    assert len(await ben.remembered()) == 1
    assert await ann.remembered() == []
    assert await ann.rows(ATTEMPTED) == [(0,)]
    await other.rollback()
    await until(lambda: _works(worker, ann))


async def test_what_is_held_up_is_not_embedded_again_and_again(
    ann: PipelineUser, worker: Worker, other: AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coach.pipeline.queue.LOCKED_PAUSE", timedelta(hours=1))
    await ann.adds_task("Buy shoes")
    await other.execute("select from user_profiles where id = %s for update", (ann.id,))

    await worker.work()

    assert not await worker.work(), "nothing is due at once"


async def test_the_worker_gives_way_in_a_deadlock_with_a_user(
    ann: PipelineUser, worker: Worker, other: AsyncConnection[Any], owner: Any
) -> None:
    task = await ann.adds_task("Buy shoes")
    await other.execute(
        """
        insert into user_metadata_embeddings
            (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
        values (%s, 'task', %s, 'x', array_fill(0.1::real, array[1536])::halfvec(1536), 'wordllama')
        """,
        (ann.id, task),
    )
    working = asyncio.create_task(worker.work())  # holds the queue row, and waits for that vector
    await asyncio.sleep(1.3)  # PostgreSQL looks for a deadlock after a second: the next to wait would be who fails

    await asyncio.wait_for(other.execute("delete from tasks where id = %s", (task,)), 30)

    await other.commit()
    await working
    assert await ann.remembered() == []
    assert await ann.queued() == []


async def test_a_locked_row_keeps_no_other_from_being_renewed_or_released(
    ann: PipelineUser, someone: Make, worker_db: Database, other: AsyncConnection[Any]
) -> None:
    ben, queue = await someone(), Queue(worker_db)
    for person in (ann, ben):
        await person.adds_task("Buy shoes")
    (batch,) = [batch async for batch in queue.claims()]
    assert (await due(ann), await due(ben)) == (0, 0)
    await other.execute("update tasks set name = 'Buy boots' where user_id = %s", (ann.id,))

    async with asyncio.timeout(15):  # the lease is longer
        await queue.renew(batch)
        row = next(row for row in batch.rows if row.user_id == ann.id)
        await queue.charge(batch, [(row, "Refused.")])
        await queue.release(batch)

    assert (await due(ann), await due(ben)) == (0, 1), "hers comes back with the end of its lease"


@pytest.fixture
async def hesitant(database_url: str) -> AsyncIterator[Callable[[Any], Awaitable[None]]]:
    """Somebody whose app changes their preferences and leaves the transaction open."""
    async with await AsyncConnection.connect(database_url) as connection:

        async def leaves_open(user_id: Any) -> None:
            await connection.execute(
                "select set_config('role', 'coach_session', true), set_config('request.jwt.claims', %s, true)",
                (json.dumps({"sub": str(user_id), "role": "authenticated"}),),
            )
            await connection.execute(
                "insert into user_analytics_preferences (user_id) values (%s)"
                " on conflict (user_id) do update set quiet_from = '20:00'",
                (user_id,),
            )

        yield leaves_open
        await connection.rollback()


async def test_a_change_of_preferences_that_one_left_open_keeps_no_other_turn_from_being_closed(
    db: Database, worker_db: Database, owner: Any, new_user: Any, hesitant: Callable[[Any], Awaitable[None]]
) -> None:
    ann, ben = [Desk(db, await new_user(), owner) for _ in range(2)]
    for desk in (ann, ben):
        await desk.opens("m1")
    await hesitant(ann.user)

    await asyncio.wait_for(close_orphans(worker_db, utc_now() + timedelta(hours=1)), 30)

    assert (await ann.quota(), await ben.quota()) == ((0, 1), (0, 0))


async def test_a_locked_row_keeps_no_other_user_from_being_nudged(
    worker_db: Database, owner: Any, new_user: Any, hesitant: Callable[[Any], Awaitable[None]]
) -> None:
    ann, ben = await new_user(), await new_user()
    for user_id in (ann, ben):
        await owner.execute(
            """
            with wanted as (
                insert into user_analytics_preferences (user_id, quiet_from, quiet_until)
                values (%(me)s, '00:00', '00:00')
            ),
            task as (
                insert into tasks (user_id, name, due_date) values (%(me)s, 'Run', current_date - 3) returning id
            )
            insert into commitments (user_id, title, due_date, status, task_id)
            select %(me)s, 'Run', current_date - 3, 'accepted', id from task
            """,
            {"me": user_id},
        )
    await hesitant(ann)

    await asyncio.wait_for(make_nudges(worker_db, utc_now()), 30)

    nudged = await (
        await owner.execute("select user_id from nudges where user_id = any (%s)", ([ann, ben],))
    ).fetchall()
    assert nudged == [(ben,)]


async def test_a_locked_row_keeps_no_other_fault_from_being_charged(
    ann: PipelineUser,
    someone: Make,
    worker_db: Database,
    hesitant: Callable[[Any], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coach.pipeline.queue.LOCKED_PAUSE", timedelta(hours=1))
    ben, queue = await someone(), Queue(worker_db)
    for person in (ann, ben):
        await person.adds_task("Buy shoes")
    (batch,) = [batch async for batch in queue.claims()]
    await hesitant(ann.id)

    await asyncio.wait_for(queue.charge(batch, [(row, "Refused.") for row in batch.rows]), 15)
    await queue.release(batch)

    assert await due(ann) == 0, "not embedded again and again meanwhile"
    assert await ben.rows("select last_error from embedding_queue where user_id = %(me)s") == [("Refused.",)]
    assert ("metadata_embedding_error", "tasks", "error") in await ben.audit()
    assert await ann.audit() == []


async def test_a_locked_row_keeps_no_other_row_from_becoming_a_dead_letter(
    ann: PipelineUser, someone: Make, worker_db: Database, owner: Any, hesitant: Callable[[Any], Awaitable[None]]
) -> None:
    ben, queue = await someone(), Queue(worker_db)
    for person in (ann, ben):
        await person.adds_task("Buy shoes")
    await owner.execute("update embedding_queue set attempts = %s", (ATTEMPTS,))
    await hesitant(ann.id)

    async with asyncio.timeout(5):
        assert [batch async for batch in queue.claims()] == []

    assert (await due(ann), await due(ben)) == (1, 0)
    assert ("metadata_embedding_error", "tasks", "error") in await ben.audit()
    assert await ann.audit() == []


async def test_making_dead_letters_locks_no_row_while_it_waits_for_the_user(
    ann: PipelineUser,
    worker_db: Database,
    owner: Any,
    other: AsyncConnection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a deletion of the account needs it: it has the person, and takes the rows next."""
    monkeypatch.setattr(operators, "LOCK_TIMEOUT", "60s")
    await ann.adds_task("Buy shoes")
    await owner.execute("update embedding_queue set attempts = %s", (ATTEMPTS,))
    await other.execute("select from coach.accounts where user_id = %s for update", (ann.id,))
    burying = asyncio.create_task(_claimed(Queue(worker_db)))
    await until(lambda: _waits_for_a_lock(owner))

    await other.execute("set local lock_timeout = '200ms'")
    await other.execute("delete from embedding_queue where user_id = %s", (ann.id,))

    await other.commit()
    assert await burying == []


async def _claimed(queue: Queue) -> list[Batch]:
    return [batch async for batch in queue.claims()]


async def _waits_for_a_lock(owner: Any) -> bool:
    rows = await owner.execute(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    return await rows.fetchone() is not None


async def _works(worker: Worker, person: PipelineUser) -> bool:
    await worker.work()
    return len(await person.remembered()) == 1
