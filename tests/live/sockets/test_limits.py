"""What a socket may cost, what a reader may leave unread, and how a socket ends with its server."""

from __future__ import annotations

import asyncio
import base64
import re
import signal
import socket as sockets

import pytest

from coach.realtime import connection, hub
from coach.testing.stub_script import Answer
from tests.live.conftest import eventually
from tests.live.sockets.conftest import problem_of, text_of

LONG = " ".join(["x" * 8_000] * 256)


async def deaf(url: str, token: str, frame: bytes, window: int = 4096) -> sockets.socket:
    """Somebody who asks and then reads nothing more."""
    carrier = sockets.socket()
    carrier.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, window)
    carrier.setblocking(False)
    host, _, port = url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    await loop.sock_connect(carrier, (host, int(port)))
    head = (
        f"GET /ws/chat HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(b'x' * 16).decode()}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: coach.v1, {token}\r\n\r\n"
    )
    await loop.sock_sendall(carrier, head.encode())
    answered = await loop.sock_recv(carrier, 1024)
    assert b" 101 " in answered
    await loop.sock_sendall(carrier, masked(frame))
    return carrier


def masked(payload: bytes) -> bytes:
    """A text frame of a client's (RFC 6455, section 5.2), under a mask of zeros."""
    assert len(payload) < 65_536
    return b"\x81" + bytes([0x80 | 126]) + len(payload).to_bytes(2) + b"\0\0\0\0" + payload


ASK = (
    b'{"type":"send","requestId":"r1","id":"deaf","trigger":"submit-message","headers":{},"body":{"incognito":true},'
    b'"messages":[{"id":"m1","role":"user","parts":[{"type":"text","text":"How is it going?"}]}]}'
)
"""Incognito: to embed two megabytes takes half a gigabyte, and is not what these tests are about."""


async def test_a_reader_that_never_reads_is_dropped_with_1013_and_its_turn_goes_on(
    ann, opens, coach_url, stub, monkeypatch, owner
):
    monkeypatch.setattr(connection, "STALLED_AFTER", 1.0)
    stub.always(Answer(text=LONG))

    before = await drops(ann)
    carrier = await deaf(coach_url, ann.token, ASK)
    heard = bytearray()
    await dropped(ann, before + 1)
    while data := await read(carrier):
        heard += data
    carrier.close()

    assert (1013).to_bytes(2) + b"What was told was not read in time" in heard
    assert len(heard) < len(LONG) / 2
    wire = await opens(ann)
    await wire.sends(type="resume", requestId="r2", id="deaf")
    assert text_of((await wire.answer("r2"))["r2"]) == LONG


async def dropped(person, count):
    """Until the server has closed that many."""

    async def happens():
        return await drops(person) >= count

    await eventually(happens)


async def drops(person):
    """How many sockets the server has closed since their readers did not read."""
    told = (await person.client.get("/metrics")).text
    found = re.search(r'^coach_sockets_closed_total\{code="1013"\} (\S+)', told, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def read(carrier):
    try:
        return await asyncio.get_running_loop().sock_recv(carrier, 65_536)
    except ConnectionResetError:
        return b""


async def status_of(owner, person):
    rows = await owner.execute(
        "select status from ai_conversation_memory where user_id = %s and message_role = 'assistant'", (person.user_id,)
    )
    return [status for (status,) in await rows.fetchall()]


async def test_a_reader_that_never_reads_delays_no_other(person, opens, coach_url, stub):
    ann, ben = await person(), await person()
    stub.will(Answer(text=LONG))
    carriers = [await deaf(coach_url, ann.token, ASK) for _ in range(10)]
    await stub.until(lambda each: each.calls == 1)
    stub.always(Answer(text="Rest today."))

    wire = await opens(ben)
    await wire.asks("r1")

    assert text_of((await wire.answer("r1"))["r1"]) == "Rest today."
    for carrier in carriers:
        carrier.close()


async def test_pings_come_by_themselves(ann, opens, monkeypatch):
    monkeypatch.setattr(connection, "PING_EVERY", (0.3, 0.4))
    wire = await opens(ann)

    frames = [await wire.hears() for _ in range(2)]

    assert frames == [{"type": "ping", "requestId": "$push"}] * 2


async def test_pings_are_fifteen_to_twenty_seconds_apart():
    low, high = connection.PING_EVERY

    assert (low, high + hub.TICK <= 21) == (15, True)


@pytest.fixture
def provided(model_stub):
    return {"COACH_OPENAI_BASE_URL": model_stub.url, "COACH_OPENAI_API_KEY": "k", "COACH_CHAT_MODEL": "stub",
            "COACH_EMBEDDING_MODEL": "wordllama"}  # fmt: skip


async def test_a_server_that_goes_finishes_what_it_tells_and_says_1001(
    ann, opens, start_server, model_stub, provided, owner
):
    server = start_server(**provided)
    model_stub.always(Answer(tokens=60, held_after=3))
    idle = await opens(ann, url=server.url)
    busy = await opens(ann, url=server.url)
    await busy.asks("r1")
    await busy.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")

    leaving = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGTERM))
    assert (await idle.closed())[0] == 1001
    await busy.asks("r2", id="c2")
    refused = problem_of((await busy.answer("r2"))["r2"][0])
    model_stub.go_on()
    frames = await busy.until(lambda f: f["type"] == "end")

    assert refused["type"] == "/problems/unavailable"
    assert frames[-2]["chunk"]["type"] == "finish"
    assert await busy.closed() == (1001, "The server is restarting; connect again.")
    assert await leaving == 0
    assert await status_of(owner, ann) == ["complete"]


async def test_after_the_grace_a_socket_gets_the_end_of_its_turn_and_can_resume_on_the_next_server(
    ann, opens, start_server, model_stub, provided
):
    server = start_server(**provided, COACH_DRAIN_GRACE="0.2")
    following = start_server(**provided)
    model_stub.always(Answer(tokens=400, rate=20))
    wire = await opens(ann, url=server.url)
    await wire.asks("r1")
    await wire.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")

    leaving = asyncio.create_task(asyncio.to_thread(server.stop, signal.SIGTERM))
    frames = await wire.until(lambda f: f["type"] == "end")

    assert [frame["chunk"]["type"] for frame in frames[-3:-1]] == ["message-metadata", "abort"]
    assert (await wire.closed())[0] == 1001
    assert await leaving == 0
    again = await opens(ann, url=following.url)
    await again.sends(type="resume", requestId="r2", id="c1")
    assert (await again.answer("r2"))["r2"][-2]["chunk"]["type"] == "abort"


async def test_neither_tickets_nor_tokens_nor_words_get_into_the_log(ann, opens, start_server, model_stub, provided):
    server = start_server(**provided, COACH_LOG_LEVEL="debug")
    response = await ann.client.post(f"{server.url}/api/ws-ticket", headers=ann.headers)
    ticket = response.json()["ticket"]
    wire = await opens(url=server.url, ticket=ticket)
    await wire.asks("r1", "My secret is blue.")
    await wire.answer("r1")
    assert (await (await opens(url=server.url, ticket=ticket)).closed())[0] == 1008
    await (await opens(ann, url=server.url)).socket.close()
    await wire.socket.close()
    assert await asyncio.to_thread(server.stop, signal.SIGTERM) == 0

    log = server.log.read_text()
    assert ticket not in log
    assert ann.token not in log
    assert "blue" not in log
    codes = sorted(line["code"] for line in server.lines("socket"))
    assert codes == [1000, 1000, 1008]
