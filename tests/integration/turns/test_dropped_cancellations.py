"""Python 3.11's ``wait_for``, which the pool uses, drops a cancellation that arrives with the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from coach.bench.stub_provider import StubProvider
from coach.bench.stub_script import Answer
from coach.chat.events import Finished, Interrupted
from coach.database.pool import Database
from coach.retrieval.context import Looked
from tests.integration.turns.conftest import Coach, read


class DeafDatabase(Database):
    """Drops a cancellation that arrives while a connection is waited for, as the pool's does on Python 3.11 where both
    come at once."""

    entered: asyncio.Event
    is_slow = False

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
    deaf_coach: Coach, deaf: DeafDatabase, model_stub: StubProvider
) -> None:
    model_stub.will(Answer(tokens=12, rate=20.0))
    reader = await deaf_coach.begin("u1")
    await model_stub.until(lambda stub: stub.open_streams == 1)
    deaf.is_slow, deaf.entered = True, asyncio.Event()

    await deaf.entered.wait()
    async with asyncio.timeout(5):
        events = await read(reader)

    assert isinstance(events[-1], Finished)
    await deaf_coach.settled()


async def test_a_stop_that_meets_the_database_is_not_lost(
    deaf_coach: Coach, deaf: DeafDatabase, model_stub: StubProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is not even asked. What was looked up does not do here: the turn itself goes to the database again."""

    def is_never_enough(*_: Any) -> bool:
        deaf.is_slow = True
        return False

    monkeypatch.setattr(Looked, "is_enough", is_never_enough)
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
    deaf_coach: Coach, deaf: DeafDatabase, model_stub: StubProvider
) -> None:
    """It has no time limit any more that a stop could move."""
    model_stub.will(Answer(tokens=3, rate=20.0), Answer(text="Second."))
    first = await deaf_coach.begin("u1")
    await model_stub.until(lambda stub: stub.open_streams == 1)
    deaf.is_slow, deaf.entered = True, asyncio.Event()
    await model_stub.until(lambda stub: stub.open_streams == 0)
    await asyncio.sleep(0.05)

    second = await deaf_coach.begin("u2", "And then?")

    assert isinstance((await read(first))[-1], Finished)
    assert isinstance((await read(second))[-1], Finished)
    await deaf_coach.settled()
