"""What dead servers leave behind is put right for all users, and what lives is left alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coach.chat.meaning import Replay
from coach.chat.orphans import prune_keys, settle_orphans
from coach.database.pool import Database
from coach.errors import NotAllDone
from tests.integration.test_ledger import NOW, Desk

LATER = NOW + timedelta(minutes=5)


@pytest.fixture
async def desk(db: Database, owner: Any, new_user: Any) -> Desk:
    return Desk(db, await new_user(), owner)


async def states(desk: Desk) -> list[tuple[str, str]]:
    return await desk.rows(
        "select status, message_content from ai_conversation_memory"
        " where user_id = %(user)s and message_role = 'assistant' order by created_at"
    )


async def test_orphans_of_every_user_are_closed_and_living_turns_are_not(
    desk: Desk, worker_db: Database, new_user: Any
) -> None:
    other = Desk(desk.db, await new_user(), desk.owner)
    await desk.opens("m1")
    await other.opens("m1")
    alive = await other.opens("m2", conversation_id="c2")
    await desk.owner.execute("update turn_checkpoints set content = 'So far' where user_id = %s", (desk.user,))
    await desk.owner.execute(
        "update turn_checkpoints set heartbeat = %s where message_id = %s", (LATER, alive.answer_id)
    )

    await settle_orphans(worker_db, LATER)

    assert await states(desk) == [("interrupted", "So far")]
    assert await desk.quota() == (1, 0)
    assert await states(other) == [("interrupted", ""), ("streaming", "")]
    assert await other.quota() == (0, 1)
    assert await other.answers(alive), "the living turn ends as if nothing had been"


async def test_a_reservation_whose_conversation_was_deleted_is_given_back_once(desk: Desk, worker_db: Database) -> None:
    turn = await desk.opens("m1")
    await desk.owner.execute("delete from conversations where user_id = %s", (desk.user,))

    await settle_orphans(worker_db, NOW + timedelta(seconds=30))
    assert await desk.quota() == (0, 1), "its turn may be about to settle it"
    for _ in range(2):
        await settle_orphans(worker_db, LATER)

    assert await desk.quota() == (0, 0)
    assert await desk.rows("select status from ai_interactions where user_id = %(user)s") == [("refunded",)]
    assert not await desk.answers(turn), "a turn that comes back after that settles nothing"


async def test_a_month_that_counts_more_reservations_than_there_are_is_recounted(
    desk: Desk, worker_db: Database
) -> None:
    turn = await desk.opens("m1")
    await desk.owner.execute("update turn_checkpoints set heartbeat = %s", (LATER,))
    await desk.owner.execute("update ai_quota_months set reserved = 5 where user_id = %s", (desk.user,))

    await settle_orphans(worker_db, LATER)

    assert await desk.quota() == (0, 1)
    assert await desk.answers(turn)
    assert await desk.quota() == (1, 0)


async def test_one_users_trouble_is_not_everybodys_and_is_not_kept_quiet(
    desk: Desk, worker_db: Database, new_user: Any
) -> None:
    troubled = Desk(desk.db, await new_user(), desk.owner)
    await troubled.opens("m1")
    await desk.opens("m1")
    # What the ending of theirs runs into: a limit that is no number.
    await desk.owner.execute(
        'update ai_interactions set feature_details = feature_details || \'{"quota_limit": "many"}\''
        " where user_id = %s",
        (troubled.user,),
    )

    with pytest.raises(NotAllDone, match=r"\(closing orphaned turns: 1\)"):
        await settle_orphans(worker_db, LATER)

    assert await states(desk) == [("interrupted", "")]
    assert await states(troubled) == [("streaming", "")]
    await desk.owner.execute("delete from conversations where user_id = %s", (troubled.user,))
    await settle_orphans(worker_db, LATER)


async def test_a_key_is_forgotten_when_it_counts_no_more_and_not_before(
    desk: Desk, worker_db: Database, new_user: Any
) -> None:
    other = Desk(desk.db, await new_user(), desk.owner)
    turn = await desk.opens(None, idempotency_key="k1")
    await desk.answers(turn)
    await other.opens(None, idempotency_key="k1")
    await other.owner.execute(
        "update idempotency_keys set created_at = created_at + interval '1 hour' where user_id = %s", (other.user,)
    )
    a_day_later = turn.started + timedelta(hours=24)

    await prune_keys(worker_db, a_day_later - timedelta(microseconds=1))
    desk.now = a_day_later - timedelta(seconds=1, microseconds=1)
    assert await desk.ask(None, idempotency_key="k1") == Replay(turn.answer_id)

    await prune_keys(worker_db, a_day_later)
    assert await keys(desk) == []
    assert await keys(other) == [("k1",)]
    desk.now = a_day_later - timedelta(seconds=1)
    again = await desk.opens(None, idempotency_key="k1", conversation_id="c2")
    assert again.answer_id != turn.answer_id


async def keys(desk: Desk) -> list[Any]:
    return await desk.rows("select key from idempotency_keys where user_id = %(user)s")
