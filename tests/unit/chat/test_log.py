"""Any number of readers, each at its own pace."""

from __future__ import annotations

import asyncio

from coach.chat.events import Event, Failed, Interrupted, TextDelta
from coach.chat.log import EventLog


async def read(log: EventLog) -> list[list[Event]]:
    return [list(batch) async for batch in log.read()]


async def test_every_reader_gets_everything_whenever_it_comes() -> None:
    log = EventLog()
    early = asyncio.create_task(read(log))
    await asyncio.sleep(0)
    log.publish(TextDelta("a"))
    await asyncio.sleep(0.01)
    middle = asyncio.create_task(read(log))
    log.publish(TextDelta("b"), Interrupted("stopped"))
    expected = [TextDelta("a"), TextDelta("b"), Interrupted("stopped")]
    for batches in (await early, await middle, await read(log)):
        assert [event for batch in batches for event in batch] == expected


async def test_what_waits_together_is_one_batch() -> None:
    log = EventLog()
    for n in range(100):
        log.publish(TextDelta(str(n)))
    log.publish(Interrupted("stopped"))
    assert [len(batch) for batch in await read(log)] == [101]


async def test_nothing_follows_the_terminal_event() -> None:
    log = EventLog()
    log.publish(Failed("x", "y"), TextDelta("late"))
    log.publish(Interrupted("later still"))
    assert await read(log) == [[Failed("x", "y")]]


async def test_a_reader_that_leaves_is_forgotten() -> None:
    log = EventLog()
    reader = log.read()
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await reader.aclose()
    log.publish(Interrupted("stopped"))
    assert await read(log) == [[Interrupted("stopped")]]
