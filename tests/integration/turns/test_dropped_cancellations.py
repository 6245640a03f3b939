"""Python 3.11's ``wait_for``, which the pool uses, drops a cancellation that arrives with the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from coach.chat import checkpoints, endings
from coach.chat.events import Finished, Interrupted
from coach.database.pool import Database
from coach.retrieval.context import Retrieved
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer
from tests.integration.turns.conftest import Coach, read


class DeafDatabase(Database):
    """Drops a cancellation that arrives while a connection is waited for, as the pool's does on Python 3.11 where both
    come at once."""

    entered: asyncio.Event
    is_slow = False
    beside: DeafDatabase

    def apart(self) -> DeafDatabase:
        self.beside = DeafDatabase(self._url, max_size=1)
        return self.beside

    @asynccontextmanager
    async def _begun(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
        if self.is_slow:
            self.entered.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.3)
        async with super()._begun(*arguments, **more) as begun:
            yield begun


@pytest.fixture
async def deaf(db: Database) -> AsyncIterator[DeafDatabase]:
    deaf = DeafDatabase(db._url)
    await deaf.open()
    yield deaf
    await deaf.close()


@pytest.fixture
async def deaf_coach(make_coach: Any, deaf: DeafDatabase) -> Coach:
    return await make_coach(by=deaf)


async def test_a_turn_ends_though_its_checkpoints_drop_the_cancellation(
    deaf_coach: Coach, deaf: DeafDatabase, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow from the first checkpoint on, and hardly ever without one: the end meets one of them."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.01)
    once, deaf.beside.entered = deaf.beside.once, asyncio.Event()

    async def write_slowly(user_id: Any, *asks: Any, **more: Any) -> Any:
        deaf.beside.is_slow = True
        return await once(user_id, *asks, **more)

    monkeypatch.setattr(deaf.beside, "once", write_slowly)
    model_stub.will(Answer(tokens=12, rate=20.0))

    async with asyncio.timeout(30):
        events = await read(await deaf_coach.begin("u1"))

    assert isinstance(events[-1], Finished)
    await deaf_coach.settled()


async def test_a_stop_that_meets_the_database_is_not_lost(
    deaf_coach: Coach, deaf: DeafDatabase, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is not even asked. What was looked up does not do here: the turn itself goes to the database again."""

    def is_never_enough(*_: Any) -> bool:
        deaf.is_slow = True
        return False

    monkeypatch.setattr(Retrieved, "is_enough", is_never_enough)
    deaf.entered = asyncio.Event()
    reader = await deaf_coach.begin("u1")
    await deaf.entered.wait()
    for running in deaf_coach.turns._running.values():
        running.stop("stopped")
    deaf.is_slow = False

    events = await read(reader)

    assert isinstance(events[-1], Interrupted)
    assert model_stub.calls == 0
    assert await deaf_coach.quota() == (0, 0)
    await deaf_coach.settled()


async def test_a_new_message_waits_for_a_turn_whose_ending_is_being_stored(
    coach: Coach, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no time limit any more that a stop could move."""
    storing, go_on, store = asyncio.Event(), asyncio.Event(), endings.store

    async def store_when_told(*arguments: Any) -> Any:
        storing.set()
        await go_on.wait()
        return await store(*arguments)

    monkeypatch.setattr(endings, "store", store_when_told)
    model_stub.will(Answer(tokens=3), Answer(text="Second."))
    first = await coach.begin("u1")
    await storing.wait()
    (running,) = coach.turns._running.values()

    beginning = asyncio.create_task(coach.begin("u2", "And then?"))
    while running.stopped is None and not beginning.done():  # noqa: ASYNC110 - nothing of a turn tells of a stop
        await asyncio.sleep(0.01)
    go_on.set()

    assert isinstance((await read(first))[-1], Finished)
    assert isinstance((await read(await beginning))[-1], Finished)
    await coach.settled()
