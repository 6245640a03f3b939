"""Streams that survive: readers that leave anywhere, stops, killed and terminated servers, other processes."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from coach.settings import load_settings
from coach.testing.stub_script import Answer, Stall
from tests.live.conftest import SECRET, eventually, parts_of
from tests.stub.fixtures import asking

TOKENS = 200
TEXT = "".join(Answer(tokens=TOKENS).pieces)


@pytest.fixture(scope="module")
def coach_settings(database_url, provider):
    return load_settings(
        database_url=database_url, jwt_secret=SECRET, **asking(provider),
        turns_at_once=50,
    )  # fmt: skip


@pytest.fixture
def environment(stub):
    return {"COACH_OPENAI_BASE_URL": stub.url, "COACH_OPENAI_API_KEY": "stub", "COACH_CHAT_MODEL": "stub",
            "COACH_EMBEDDING_MODEL": "wordllama", "COACH_LOG_LEVEL": "info"}  # fmt: skip


def body(conversation, text="How is it going?", message="m1"):
    return {
        "id": conversation,
        "messages": [{"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}],
    }


async def leaves(url, person, conversation, chunk, way):
    """Asks, reads that many deltas, and goes: by a close, or by a reset that nobody is told of politely."""
    content = httpx.Request("POST", f"{url}/api/chat", json=body(conversation)).content
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/chat HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {person.token}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
    heard = b""
    while heard.count(b'"text-delta"') < max(chunk, 1) and (chunk or b'"start"' not in heard):
        if b'"finish"' in heard:
            break  # what came together is one delta, so that there may be fewer than tokens
        data = await reader.read(65_536)
        if not data:
            break
        heard += data
    if way == "reset":
        carrier = writer.get_extra_info("socket")
        carrier.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort() if way == "reset" else writer.close()


async def settled(owner, people, seconds=60.0):
    """Until none of their turns runs."""
    ids = [person.user_id for person in people]
    until = monotonic() + seconds
    while monotonic() < until:
        running = await owner.execute("select 1 from turn_checkpoints where user_id = any(%s)", (ids,))
        if not await running.fetchall():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a turn still runs")


async def test_400_readers_that_leave_anywhere_leave_whole_turns(person, coach_url, stub, owner):
    stub.always(Answer(tokens=TOKENS, rate=400))
    people = [await person() for _ in range(8)]
    at_once = asyncio.Semaphore(40)

    async def one(number):
        async with at_once:
            chunk, way = (0, 1, 100, 199)[number % 4], ("close", "reset")[number // 4 % 2]
            await leaves(coach_url, people[number % 8], f"c{number}", chunk, way)

    await asyncio.gather(*(one(number) for number in range(400)))
    await settled(owner, people)

    rows = await owner.execute(
        """
        select c.client_id, array_agg(m.message_role order by m.created_at),
            max(m.message_content) filter (where m.message_role = 'assistant'), min(m.status), max(m.status)
        from conversations c
        join ai_conversation_memory m on m.user_id = c.user_id and m.conversation_id = c.id
        where c.user_id = any(%s)
        group by c.user_id, c.client_id
        """,
        ([each.user_id for each in people],),
    )
    found = await rows.fetchall()
    assert len(found) == 400
    assert {(tuple(roles), text, low, high) for _, roles, text, low, high in found} == {
        (("user", "assistant"), TEXT, "complete", "complete")
    }
    assert stub.calls == 400
    await stub.until(lambda each: each.open_streams == 0)


# Its five tokens come in one write, and so in one delta.
SILENT, MUTE = Stall(after=5), Stall(headers=False)


async def stopped(owner, ann, stub, asks, stops, step, chunk):
    """One turn that is read so far and then stopped; seconds until the upstream was closed, and what is stored."""
    stub.reset()
    stub.always(step)
    conversation = uuid4().hex
    await leaves(asks, ann, conversation, chunk, "close")
    if step is MUTE:
        await stub.until(lambda each: each.open_streams == 1)
    async with httpx.AsyncClient() as client:
        asked = monotonic()
        response = await client.post(f"{stops}/api/chat/{conversation}/stop", headers=ann.headers)
    assert response.status_code == 204
    await settled(owner, [ann])
    await stub.until(lambda each: each.open_streams == 0)
    rows = await owner.execute(
        """
        select m.status, m.message_content
        from conversations c
        join ai_conversation_memory m on m.user_id = c.user_id and m.conversation_id = c.id
        where c.client_id = %s and m.message_role = 'assistant'
        """,
        (conversation,),
    )
    return stub.ended_at - asked, await rows.fetchall()


ENDLESS = Answer(tokens=20_000, rate=200)


@pytest.mark.parametrize(
    ("step", "chunk"), [(ENDLESS, 0), (ENDLESS, 1), (ENDLESS, 100), (ENDLESS, 199), (SILENT, 1), (MUTE, 0)]
)
async def test_a_stop_keeps_a_prefix_and_closes_the_upstream_within_a_second(ann, coach_url, stub, owner, step, chunk):
    await stops_within_a_second(owner, ann, stub, coach_url, coach_url, step, chunk)


async def stops_within_a_second(owner, ann, stub, asks, stops, step, chunk):
    """Once in three times: a busy host may add as much again."""
    took = []
    while len(took) < 3 and not (took and took[-1] < 1.0):
        seconds, ((status, text),) = await stopped(owner, ann, stub, asks, stops, step, chunk)
        took.append(seconds)
        assert status == "interrupted"
        assert "".join(ENDLESS.pieces).startswith(text)
        assert text.count(" ") >= chunk
    assert min(took) < 1.0, f"{step} at {chunk}"


async def test_a_stop_reaches_the_process_that_runs_the_turn_within_a_second(
    ann, start_server, environment, stub, owner
):
    first, second = start_server(**environment), start_server(**environment)
    for step, chunk in [(ENDLESS, 0), (ENDLESS, 1), (ENDLESS, 100), (ENDLESS, 199), (SILENT, 1), (MUTE, 0)]:
        await stops_within_a_second(owner, ann, stub, first.url, second.url, step, chunk)


async def test_20_posts_of_one_message_are_one_turn(ann, coach_url, stub, owner):
    stub.always(Answer(tokens=40, rate=100))

    answers = await asyncio.gather(*(ann.asks("Hello", id="c1", message_id="m1") for _ in range(20)))

    assert len({answer.text for answer in answers}) == 1
    assert len({answer.first("start")["messageId"] for answer in answers}) == 1
    assert stub.calls == 1
    assert (await ann.gets("/api/me/quota")).json()["used"] == 1
    assert (await ann.asks("Other words", id="c1", message_id="m1")).status == 409


async def kept(owner, user_id, text):
    """Until so much of their running turn's answer is in its checkpoint."""

    async def happens():
        rows = await owner.execute("select content from turn_checkpoints where user_id = %s", (user_id,))
        return await rows.fetchall() == [(text,)]

    await eventually(happens)


async def begun(url, person, conversation):
    """A stream that has said something: its pieces so far and to come."""
    client = httpx.AsyncClient(timeout=60)
    request = client.build_request("POST", f"{url}/api/chat", json=body(conversation), headers=person.headers)
    response = await client.send(request, stream=True)
    pieces = response.aiter_text()
    heard = ""
    while "text-delta" not in heard:
        heard += await anext(pieces)
    return client, pieces, heard


async def test_a_killed_servers_turn_keeps_its_text_and_its_unit_is_free(
    ann, start_server, environment, stub, owner, worker_url
):
    stub.always(Stall(after=10))
    server = start_server(**environment)
    client, _, _ = await begun(server.url, ann, "c1")
    await kept(owner, ann.user_id, "".join(Answer(tokens=10).pieces))
    server.process.kill()
    server.process.wait()
    await client.aclose()

    again = start_server(**environment, COACH_WORKER_DATABASE_URL=worker_url)
    await settled(owner, [ann], 45.0)

    rows = await owner.execute(
        "select status, message_content from ai_conversation_memory where user_id = %s and message_role = 'assistant'",
        (ann.user_id,),
    )
    assert await rows.fetchall() == [("interrupted", "".join(Answer(tokens=10).pieces))]
    quota = await owner.execute("select reserved from ai_quota_months where user_id = %s", (ann.user_id,))
    assert await quota.fetchall() == [(0,)]
    stub.always(Answer(text="Rest."))
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(f"{again.url}/api/chat", json=body("c1", message="m2"), headers=ann.headers)
    assert parts_of(answer.text)[-1]["type"] == "finish"


async def test_50_streams_are_stored_when_the_server_stops(person, start_server, environment, stub, owner):
    stub.always(Answer(tokens=2_000, rate=20))
    server = start_server(**environment, COACH_DRAIN_GRACE="2")
    people = [await person() for _ in range(50)]
    streams = await asyncio.gather(*(begun(server.url, each, "c1") for each in people))

    await goes(server, within=2 + 5)

    ends = ["".join([heard, *[piece async for piece in pieces]]) for _, pieces, heard in streams]
    assert {parts_of(end)[-1]["type"] for end in ends} == {"abort"}
    rows = await owner.execute(
        "select user_id, status, message_content from ai_conversation_memory"
        " where user_id = any(%s) and message_role = 'assistant'",
        ([each.user_id for each in people],),
    )
    stored = {user_id: (status, text) for user_id, status, text in await rows.fetchall()}
    for each, end in zip(people, ends, strict=True):
        said = "".join(part["delta"] for part in parts_of(end) if part["type"] == "text-delta")
        assert stored[each.user_id] == ("interrupted", said)
    for client, _, _ in streams:
        await client.aclose()


async def goes(server, within):
    """Told to go, it has gone in order within so many seconds, and what a busy host may add; what hangs stays."""
    began = monotonic()
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0
    assert monotonic() - began < within + 3


async def test_readers_that_never_read_do_not_hold_up_a_server_that_goes(
    person, start_server, environment, stub, owner
):
    # More than the kernel takes for a reader that does not read.
    stub.always(Answer(text=" ".join(["x" * 8_000] * 1_000)))
    uncapped = {"COACH_ANSWER_MAX_TOKENS": "10000000", "COACH_ANSWER_MAX_BYTES": "10000000"}
    server = start_server(**environment, **uncapped, COACH_DRAIN_GRACE="2")
    people = [await person() for _ in range(50)]
    carriers = [await deaf(server.url, each) for each in people[:5]]
    await stub.until(lambda each: each.calls == 5)
    await settled(owner, people)
    stub.always(Answer(tokens=2_000, rate=20))
    streams = await asyncio.gather(*(begun(server.url, each, "c1") for each in people[5:]))

    await goes(server, within=2 + 5)

    stored = await owner.execute(
        "select status, count(*), max(length(message_content)) > 8_000_000 from ai_conversation_memory"
        " where user_id = any(%s) and message_role = 'assistant' group by status",
        ([each.user_id for each in people],),
    )
    assert sorted(await stored.fetchall()) == [("complete", 5, True), ("interrupted", 45, False)]
    for client, _, _ in streams:
        await client.aclose()
    for each in carriers:
        each.close()


async def deaf(url, person):
    """Somebody who asks over HTTP and reads nothing of the answer."""
    carrier = socket.socket()
    carrier.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    carrier.setblocking(False)
    content = httpx.Request("POST", f"{url}/api/chat", json=body("c1") | {"incognito": True}).content
    host, _, port = url.removeprefix("http://").partition(":")
    head = f"POST /api/chat HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {person.token}\r\n"
    loop = asyncio.get_running_loop()
    await loop.sock_connect(carrier, (host, int(port)))
    await loop.sock_sendall(
        carrier, f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
    )
    return carrier


async def test_an_embedder_that_hangs_does_not_hold_up_a_server_that_goes(
    person, start_server, environment, stub, owner, worker_url
):
    stub.always(Answer(tokens=2_000, rate=20))
    embedding = {"COACH_EMBEDDING_MODEL": "text-embedding-3-small", "COACH_WORKER_DATABASE_URL": worker_url}
    server = start_server(**environment | embedding, COACH_DRAIN_GRACE="2")
    people = [await person() for _ in range(50)]
    streams = await asyncio.gather(*(begun(server.url, each, "c1") for each in people))
    stub.embeddings_always(Stall(headers=False))

    await goes(server, within=2 + 5)

    stored = await owner.execute(
        "select status, count(*) from ai_conversation_memory"
        " where user_id = any(%s) and message_role = 'assistant' group by status",
        ([each.user_id for each in people],),
    )
    assert await stored.fetchall() == [("interrupted", 50)]
    for client, _, _ in streams:
        await client.aclose()


async def test_a_second_process_tells_the_same_parts_from_the_first_on(ann, start_server, environment, stub):
    stub.always(Answer(tokens=80, rate=40, held_after=3))
    first, second = start_server(**environment), start_server(**environment)
    client, pieces, heard = await begun(first.url, ann, "c1")

    async with (
        httpx.AsyncClient(timeout=30) as other,
        other.stream("GET", f"{second.url}/api/chat/c1/stream", headers=ann.headers) as response,
    ):
        resumed = response.aiter_text()
        told = ""
        while "text-delta" not in told:
            told += await anext(resumed)
        stub.go_on()
        told += "".join([piece async for piece in resumed])
    there, here = parts_of(told), parts_of("".join([heard, *[piece async for piece in pieces]]))
    await client.aclose()

    assert kinds(there) == kinds(here)
    assert there[0] == here[0]
    assert text_of(there) == text_of(here) == "".join(Answer(tokens=80).pieces)
    assert sum(part["type"] == "text-delta" for part in there) > 1, "it came piece by piece"
    assert there[-1] == here[-1]


def kinds(parts):
    found = [part["type"] for part in parts]
    return [kind for place, kind in enumerate(found) if place == 0 or found[place - 1] != kind]


def text_of(parts):
    return "".join(part["delta"] for part in parts if part["type"] == "text-delta")
