"""A new kind of part is declared in one class. Streams, replay, history and JSON answers know it then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest

from coach.chat.collected import collect
from coach.chat.encoders import UIMessageParts
from coach.chat.events import Event
from coach.chat.parts import KINDS, Part
from coach.conversations.messages import messages
from coach.database.pool import Database
from coach.openai_api.chunks import Chunks
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer
from tests.integration.turns.conftest import Coach, begun, read


@pytest.fixture
def weather() -> Iterator[Any]:
    """A kind of part, for as long as a test."""

    class Weather(Part, frozen=True):
        """What the sky did while the coach was thinking."""

        type: ClassVar[str] = "data-weather"
        stored_as: ClassVar[str | None] = "weather"
        answered_as: ClassVar[str | None] = "weather"
        is_list: ClassVar[bool] = True

        sky: str
        degrees: int

    yield Weather
    KINDS.remove(Weather)


SHOWN = [
    {"type": "data-weather", "data": {"sky": "grey", "degrees": 4}},
    {"type": "data-weather", "data": {"sky": "blue", "degrees": 9}},
]


def shown(events: list[Event]) -> list[Any]:
    encoder = UIMessageParts()
    parts = [json.loads(part) for event in events for part in encoder.encode(event)]
    return [part for part in parts if part["type"] == "data-weather"]


async def test_a_made_up_part_is_in_the_stream_the_replay_the_history_and_the_answer(
    make_coach: Any, db: Database, model_stub: StubProvider, weather: Any
) -> None:
    coach: Coach = await make_coach()
    elsewhere: Coach = await make_coach()  # another server process
    model_stub.will(Answer(tokens=30, rate=40.0))
    reader = await coach.begin("m1")
    (running,) = coach.turns._running.values()
    await begun(running.log.read())

    running.publish(weather("grey", 4))
    running.publish(weather("blue", 9))

    live = await read(reader)
    assert shown(live) == SHOWN
    await coach.settled()
    replayed = elsewhere.turns.follow(coach.user, running.turn.answer_id)
    assert shown(await read(replayed)) == SHOWN
    page = await messages(db, coach.user, "c1", leaf=None, limit=10, cursor=None)
    parts = json.loads(msgspec.json.encode(page.items[-1].parts))
    assert [part for part in parts if part["type"] == "data-weather"] == SHOWN
    answer = await collect(elsewhere.turns.follow(coach.user, running.turn.answer_id))
    assert json.loads(msgspec.json.encode(answer))["weather"] == [part["data"] for part in SHOWN]
    chunks = Chunks("coach", has_usage=True)
    assert b"weather" not in b"".join(frame for event in live for frame in chunks.encode(event))


async def test_a_part_that_comes_late_reaches_a_reader_in_another_process_while_the_turn_runs(
    make_coach: Any, model_stub: StubProvider, weather: Any
) -> None:
    coach: Coach = await make_coach()
    elsewhere: Coach = await make_coach()
    model_stub.will(Answer(tokens=80, rate=40.0))
    reader = await coach.begin("m1")
    (running,) = coach.turns._running.values()
    following = elsewhere.turns.follow(coach.user, running.turn.answer_id)
    await begun(following)

    running.publish(weather("grey", 4))

    async for batch in following:
        if shown(list(batch)):
            break
    assert not running.log.ended
    await read(reader)
