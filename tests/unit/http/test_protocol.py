"""What a stranger may send, and for how long: on real sockets, before a small application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from coach.http import protocol
from coach.http.protocol import FRAMING, MAX_FIELDS, MAX_HEAD, MAX_PIPELINED, BoundedProtocol, Timeouts, bounded_by
from coach.http.socket_protocol import SOCKET_OPTIONS
from coach.server import listen

PATIENT = Timeouts(600, 600, 600)
SOON = 0.2
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"


class App:
    """Reads what it is sent, and tells it; ``refuses`` before it has read, or ``waits`` for a word."""

    def __init__(self) -> None:
        self.refuses = False
        self.answer = b"ok"
        self.heads: list[dict[bytes, bytes]] = []
        self.bodies: list[bytes] = []
        self.may_read, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_read.set()
        self.may_answer.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.may_read.wait()
        status, body, more = (401 if self.refuses else 200), b"", not self.refuses
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await self.may_answer.wait()
        self.heads.append(dict(scope["headers"]))
        self.bodies.append(body)
        length = str(len(self.answer)).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": self.answer[:1], "more_body": True})
        await send({"type": "http.response.body", "body": self.answer[1:]})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))
        await self._writer.drain()

    async def status(self) -> int:
        """Of the next answer, which is read."""
        async with asyncio.timeout(30):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await self._reader.readexactly(int(length or b"0"))
        return int(head.split()[1])

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        async with asyncio.timeout(30):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    async def starts_a_chunked_body(self) -> None:
        """From here on, what is sent is read apart from the head."""
        await self.send(CHUNKED)
        assert await self.status() == 100

    def close(self) -> None:
        self._writer.close()


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while True:
            if happened():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def served(timeouts: Timeouts = PATIENT):
    app, listener, clients = App(), listen("127.0.0.1", 0), []
    config = uvicorn.Config(app, lifespan="off", log_config=None, http=bounded_by(timeouts), **SOCKET_OPTIONS)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([listener]))

    async def connect(**options: Any) -> Client:
        clients.append(Client(*await asyncio.open_connection(*listener.getsockname(), **options)))
        return clients[-1]

    await until(lambda: server.started)
    yield app, connect, server
    for client in clients:
        client.close()
    server.should_exit = server.force_exit = True
    await running


def lines(size: int, count: int = 8) -> bytes:
    """Header lines of so many bytes, ends included."""
    each = size // count
    sizes = [each] * (count - 1) + [size - each * (count - 1)]
    return b"".join(b"x-%06d: %s\r\n" % (at, b"v" * (length - 12)) for at, length in enumerate(sizes))


FILLED = MAX_HEAD - len("/") - len("host: x\r\n")


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
async def test_a_head_has_its_limit_however_it_comes(more, status):
    async with served() as (_, connect, _):
        whole, torn = await connect(), await connect()
        head = b"GET / HTTP/1.1\r\nhost: x\r\n" + lines(FILLED + more) + b"\r\n"
        await whole.send(head)
        assert await whole.status() == status
        await torn.send(head[: MAX_HEAD // 2])
        await asyncio.sleep(0.05)
        await torn.send(head[MAX_HEAD // 2 :])
        assert await torn.status() == status


@pytest.mark.parametrize(("count", "status"), [(MAX_FIELDS, 200), (MAX_FIELDS + 1, 431)])
async def test_a_head_has_so_many_lines(count, status):
    async with served() as (_, connect, _):
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\n", b"a:b\r\n" * count, b"\r\n")
        assert await client.status() == status


@pytest.mark.parametrize("endless", [b"GET /", HEAD + b"x-long: ", HEAD + b"x"])
async def test_a_line_without_end_is_cut_off(endless):
    async with served() as (_, connect, _):
        client = await connect()
        await client.send(endless, b"x" * (MAX_HEAD + 1))
        assert b" 431 " in await client.rest()


@pytest.mark.parametrize(("more", "is_read"), [(0, True), (1, False)])
async def test_trailers_count_with_the_head(more, is_read):
    async with served() as (app, connect, _):
        client = await connect()
        await client.starts_a_chunked_body()
        counted = sum(len(line) for line in (b"/", b"host: x\r\n", b"transfer-encoding: chunked\r\n"))
        left = MAX_HEAD - counted - len(b"expect: 100-continue\r\n") + more
        await client.send(b"2\r\nhi\r\n0\r\n", lines(left), b"\r\n")
        assert await client.status() == (200 if is_read else 431)
        assert app.bodies == ([b"hi"] if is_read else [])


async def test_a_trailer_is_no_header():
    async with served() as (app, connect, _):
        client = await connect()
        await client.starts_a_chunked_body()
        await client.send(b"0\r\nauthorization: Bearer x\r\n\r\n")
        assert await client.status() == 200
        assert b"authorization" not in app.heads[0]


@pytest.mark.parametrize(("size", "is_read"), [(MAX_HEAD - 100, True), (MAX_HEAD + 100, False)])
async def test_chunk_extensions_have_a_limit(size, is_read):
    async with served() as (app, connect, _):
        client = await connect()
        await client.starts_a_chunked_body()
        await client.send(b"2;x=", b"x" * size)
        await asyncio.sleep(0.05)
        if is_read:
            await client.send(b"\r\nhi\r\n0\r\n\r\n")
        assert await client.status() == (200 if is_read else 431)
        assert app.bodies == ([b"hi"] if is_read else [])


async def test_chunk_extensions_may_not_come_again_with_each_chunk():
    async with served() as (_, connect, _):
        client = await connect()
        await client.starts_a_chunked_body()
        for _ in range(MAX_HEAD // 1_000 + 2):
            await client.send(b"1;x=", b"x" * 1_000, b"\r\nh\r\n")
        assert b" 431 " in await client.rest()


async def test_a_body_in_the_smallest_chunks_is_read():
    count = 8 * MAX_HEAD // FRAMING
    async with served() as (app, connect, _):
        client = await connect()
        await client.starts_a_chunked_body()
        await client.send(b"1\r\nh\r\n" * count, b"0\r\n\r\n")
        assert await client.status() == 200
        assert app.bodies == [b"h" * count]


@pytest.mark.parametrize(("waiting", "statuses"), [(MAX_PIPELINED, 200), (MAX_PIPELINED + 1, 429)])
async def test_so_many_requests_may_wait(waiting, statuses):
    """All of them are in memory as soon as they are read."""
    async with served() as (app, connect, _):
        client = await connect()
        app.may_answer.clear()
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * (waiting + 1))
        if statuses == 200:
            app.may_answer.set()
            assert [await client.status() for _ in range(waiting + 1)] == [200] * (waiting + 1)
        else:
            await client.rest()
        assert len(app.heads) == (waiting + 1 if statuses == 200 else 0)


async def test_all_unfinished_heads_have_a_limit_and_whole_ones_pass_beside_them(monkeypatch):
    monkeypatch.setattr(protocol, "MAX_HEADS", 4 * MAX_HEAD)
    async with served() as (_, connect, _):
        many = [await connect() for _ in range(6)]
        for client in many:
            await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n", lines(MAX_HEAD - 2_000))
        ended = [asyncio.create_task(client.rest()) for client in many]
        done, _ = await asyncio.wait(ended, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        assert b" 503 " in done.pop().result()
        other = await connect()
        await other.send(HEAD, b"content-length: 2\r\n\r\nhi")
        assert await other.status() == 200
        for each in ended:
            each.cancel()
        for client in many:
            client.close()
        await until(lambda: not BoundedProtocol.held_by_all)


@pytest.mark.parametrize(
    ("timeouts", "sent", "said"),
    [
        (Timeouts(600, 600, SOON), b"", b""),
        (Timeouts(600, 600, SOON), b"\r\n", b""),
        (Timeouts(600, 600, SOON), HEAD + b"\r\n", b" 200 "),
        (Timeouts(600, 600, SOON), HEAD + b"\r\n\r\n\r\n", b" 200 "),
        (Timeouts(SOON, 600, 600), b"GET", b" 408 "),
        (Timeouts(SOON, 600, 600), HEAD, b" 408 "),
        (Timeouts(SOON, 600, 600), HEAD + b"\r\n" + HEAD, b" 408 "),
        (Timeouts(600, SOON, 600), HEAD + b"content-length: 9\r\n\r\nhi", b" 408 "),
        (Timeouts(600, SOON, 600), HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: y", b" 408 "),
    ],
)
async def test_whoever_falls_silent_is_let_go(timeouts, sent, said):
    async with served(timeouts) as (_, connect, _):
        client = await connect()
        await client.send(sent)
        answer = await client.rest()
        assert said in answer
        assert bool(answer) == bool(said)


async def test_a_head_that_comes_by_the_byte_has_no_more_time():
    async with served(Timeouts(SOON, 600, 600)) as (_, connect, _):
        client = await connect()
        ended = asyncio.create_task(client.rest())
        await client.send(HEAD)
        while not ended.done():
            await client.send(b"x-a: b\r\n")
            await asyncio.sleep(SOON / 4)
        assert b" 408 " in ended.result()


async def test_a_long_body_that_keeps_coming_has_more_time():
    async with served(Timeouts(600, SOON, 600)) as (app, connect, _):
        client = await connect()
        await client.send(HEAD, b"content-length: 65536\r\n\r\n", b"x" * 65_535)
        await asyncio.sleep(3 * SOON)
        await client.send(b"x")
        assert await client.status() == 200
        assert len(app.bodies[0]) == 65_536


async def test_time_stands_still_while_we_are_the_ones_who_do_not_read(monkeypatch):
    monkeypatch.setattr(protocol, "SLOWEST", 10**9)
    async with served(Timeouts(600, SOON, 600)) as (app, connect, _):
        app.may_read.clear()
        client = await connect()
        sending = asyncio.create_task(client.send(HEAD, b"content-length: 1000000\r\n\r\n", b"x" * 1_000_000))
        await asyncio.sleep(3 * SOON)
        app.may_read.set()
        await sending
        assert await client.status() == 200


async def test_an_answer_takes_as_long_as_it_takes():
    async with served(Timeouts(SOON, SOON, SOON)) as (app, connect, _):
        client = await connect()
        app.may_answer.clear()
        await client.send(HEAD, b"\r\n")
        await asyncio.sleep(3 * SOON)
        app.may_answer.set()
        assert await client.status() == 200


async def test_a_body_that_nobody_wants_is_not_read_for_ever(monkeypatch):
    monkeypatch.setattr(protocol, "LINGER", SOON)
    async with served() as (app, connect, _):
        app.refuses = True
        client = await connect()
        await client.send(HEAD, b"content-length: 999999999\r\n\r\n")
        assert await client.status() == 401
        ended = asyncio.create_task(client.rest())
        while not ended.done():
            try:
                await client.send(b"x" * 10_000)
            except ConnectionError:
                break
            await asyncio.sleep(SOON / 4)
        assert await ended == b""


async def test_a_client_that_reads_nothing_is_let_go():
    async with served(Timeouts(600, 600, SOON)) as (app, connect, server):
        app.answer = b"x" * 50_000_000
        client = await connect(limit=1)
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: server.server_state.connections)
        await until(lambda: not server.server_state.connections)


async def test_what_no_parser_understands_is_refused_in_words_of_ours():
    async with served() as (_, connect, _):
        client = await connect()
        await client.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b" 400 " in await client.rest()


async def test_an_upgrade_that_is_not_known_here_is_answered_as_if_it_were_not_asked_for():
    async with served() as (_, connect, _):
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n")
        assert await client.status() == 200
