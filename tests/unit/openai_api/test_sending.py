"""How events become bytes of OpenAI's streams, without a server."""

from __future__ import annotations

import asyncio
import json

import pytest
from litestar import Litestar, get
from litestar.response import Stream

from coach.chat.events import Failed, Finished, Interrupted, Quota, Started, TextDelta
from coach.models.base import Usage
from coach.openai_api.chunks import Chunks
from coach.openai_api.response_events import ResponseEvents
from coach.openai_api.response_objects import Facts
from coach.openai_api.sending import frames, streamed

STARTED = Started("msg_1", "c", "q", "i", "stub", "goal_coaching@1")
FINISHED = Finished("stop", Usage(3, 2), 1, 2)
FACTS = Facts(model="coach", created_at=1)


async def reading(*batches, pause=0.0, fails=None):
    for batch in batches:
        await asyncio.sleep(pause)
        yield batch
    if fails is not None:
        raise fails


async def sent(reader, encoder=None):
    return [data async for data in frames(reader, encoder or Chunks("coach", has_usage=False))]


async def test_silence_is_filled_with_comments():
    data = await sent(reading([STARTED], [], [TextDelta("a")], [], [], [FINISHED]))

    assert data.count(b": ping\n\n") == 3
    assert b"".join(data).endswith(b"data: [DONE]\n\n")


async def test_a_batch_is_one_write_and_what_says_nothing_is_none():
    quota = Quota(1, 1, 0, None)

    data = await sent(reading([STARTED, TextDelta("a"), TextDelta("b")], [quota], [TextDelta("c"), FINISHED]))

    assert [write.count(b"data: ") for write in data] == [3, 3]


@pytest.mark.parametrize("fails", [None, RuntimeError("secret")])
async def test_a_reader_that_breaks_ends_in_an_error_that_gives_nothing_away(fails):
    data = b"".join(await sent(reading([STARTED, TextDelta("a")], fails=fails))).decode()

    *_, last, done, end = data.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in data


async def test_a_reader_that_breaks_before_it_began_is_an_error_too():
    data = b"".join(await sent(reading(fails=RuntimeError())))
    events = b"".join(await sent(reading(fails=RuntimeError()), ResponseEvents(FACTS)))

    assert b'"internal_error"' in data
    assert b"event: response.failed" in events


@pytest.mark.parametrize("ending", [Interrupted("stopped"), Failed("model-unavailable", "Gone.")])
async def test_an_answer_that_is_not_whole_never_says_stop(ending):
    data = b"".join(await sent(reading([STARTED, TextDelta("a"), ending]))).decode()

    assert '"finish_reason":"' not in data
    assert '{"error":{' in data


async def test_leaving_closes_the_reader():
    reader = reading([STARTED], [TextDelta("a")], [FINISHED], pause=0.01)
    stream = frames(reader, Chunks("coach", has_usage=False))

    await anext(stream)
    await stream.aclose()

    assert reader.ag_frame is None


async def test_a_client_that_is_gone_before_the_first_byte_has_left_too():
    reader = reading([STARTED], [FINISHED], pause=5)

    @get("/")
    async def stream() -> Stream:
        return streamed(reader, Chunks("coach", has_usage=False), {})

    async def gone():
        return {"type": "http.disconnect"}

    async def send(_message):
        """Nobody hears it."""

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "root_path": ""}
    await Litestar([stream])(scope, gone, send)

    with pytest.raises(StopAsyncIteration):
        await anext(reader)


def events_of(*batches, after=-1):
    encoder = ResponseEvents(FACTS, after)
    return b"".join(frame for event in batches for frame in encoder.encode(event))


def test_events_are_numbered_by_the_text_and_not_by_its_pieces():
    text = "It is not how it came that counts, but what it says: été 🙂."
    whole = events_of(STARTED, TextDelta(text), FINISHED)

    for size in (1, 3, 8, 11):
        pieces = [TextDelta(text[at : at + size]) for at in range(0, len(text), size)]
        assert events_of(STARTED, *pieces, FINISHED) == whole


def test_at_most_seven_characters_wait_for_what_follows():
    encoder = ResponseEvents(FACTS)
    encoder.encode(STARTED)

    told = 0
    for said in range(1, 40):
        told += b"".join(encoder.encode(TextDelta("x"))).partition(b'"delta":"')[2].partition(b'"')[0].count(b"x")
        assert said - 7 <= told <= said


def test_what_was_read_is_left_out_and_nothing_else():
    every = events_of(STARTED, TextDelta("word " * 20), FINISHED).split(b"\n\n")

    for after in range(-1, len(every)):
        rest = events_of(STARTED, TextDelta("word " * 20), FINISHED, after=after).split(b"\n\n")
        assert rest == every[after + 1 :] or (after >= len(every) - 2 and rest == [b""])
