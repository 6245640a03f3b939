"""What survives a killed server: text and heartbeat of all running turns, written together."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from coach.chat import checkpoints
from coach.chat.events import Finished, Interrupted
from coach.chat.schemas import ChatRequest
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer
from tests.integration.turns.conftest import Coach, read

# Nobody waits for its end: however slowly a machine looks, the turn still runs.
LONG = Answer(tokens=2_000, rate=30.0)
SAVED = "select content, context is not null from turn_checkpoints where user_id = %(user)s"


async def until_saved(coach: Coach, words: str, since: str = "") -> tuple[str, bool]:
    """Until the checkpoint holds these words, and more than ``since``."""
    deadline = monotonic() + 20
    while monotonic() < deadline:
        rows = await coach.rows(SAVED)
        if rows and words in rows[0][0] and len(rows[0][0]) > len(since):
            return rows[0]
        await asyncio.sleep(0.02)
    raise AssertionError(f"the checkpoint never held {words!r}")


async def test_checkpoints_of_two_users_are_stored_each_in_their_own_row(
    coach: Coach, new_user: Any, model_stub: StubProvider
) -> None:
    model_stub.always(LONG)
    other = Coach(coach.turns, await new_user(), coach.owner)
    readers = [await coach.begin("m1"), await other.begin("m1")]

    saved = [await until_saved(each, "one small honest") for each in (coach, other)]

    assert [has_context for _, has_context in saved] == [True, True]
    for each, reader in zip((coach, other), readers, strict=True):
        await each.turns.stop(each.user, "c1")
        assert isinstance((await read(reader))[-1], Interrupted)
    for each in (coach, other):
        await each.settled()


async def test_a_locked_checkpoint_delays_no_other(
    coach: Coach, new_user: Any, model_stub: StubProvider, owner_url: str
) -> None:
    import psycopg

    model_stub.always(LONG)
    other = Coach(coach.turns, await new_user(), coach.owner)
    await coach.begin("m1")
    await other.begin("m1")
    async with await psycopg.AsyncConnection.connect(owner_url) as held:
        await held.execute("select 1 from turn_checkpoints where user_id = %s for update", (coach.user,))
        (before, _), (of_other, _) = (await coach.rows(SAVED))[0], (await other.rows(SAVED))[0]

        for _ in range(2):  # the first may have been on its way when the row was taken
            of_other, _ = await until_saved(other, "one small honest", since=of_other)

        assert (await coach.rows(SAVED))[0][0] == before
        await held.rollback()
    await until_saved(coach, "one small honest", since=before)
    await coach.turns.drain(0)


async def test_a_fast_answer_is_saved_before_its_half_second_is_over(
    coach: Coach, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 3_600.0)
    model_stub.will(Answer(text="word " * 20_000, rate=500.0))
    await coach.begin("m1")

    await until_saved(coach, "word " * 400)

    await coach.turns.drain(0)


async def test_a_turn_whose_row_was_deleted_stops(coach: Coach, model_stub: StubProvider) -> None:
    model_stub.will(LONG)
    reader = await coach.begin("m1")
    await model_stub.until(lambda stub: stub.open_streams == 1)

    await coach.owner.execute("delete from conversations where user_id = %s", (coach.user,))

    assert isinstance((await read(reader))[-1], Interrupted)
    await model_stub.until(lambda stub: stub.open_streams == 0)


async def test_a_stop_for_one_conversation_stops_no_other(coach: Coach, model_stub: StubProvider) -> None:
    model_stub.will(LONG, Answer(tokens=30, rate=20.0))
    first = await coach.begin("m1")
    await model_stub.until(lambda stub: stub.calls == 1)
    second = await coach.turns.begin(
        coach.user, ChatRequest(conversation_id="c2", message_id="m1", text="And this one?")
    )
    await coach.owner.execute(
        "update turn_checkpoints set stop_requested = true where user_id = %s and message_id = ("
        " select m.id from ai_conversation_memory m join conversations c on c.id = m.conversation_id"
        " where c.user_id = %s and c.client_id = 'c1' and m.status = 'streaming')",
        (coach.user, coach.user),
    )

    assert isinstance((await read(first))[-1], Interrupted)
    assert isinstance((await read(second))[-1], Finished)
    await coach.settled()
