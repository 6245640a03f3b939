"""``coach bench sockets``: what an idle socket costs the server, and what readers that never read cost it and others.

The sockets are bare streams: a client library would take more memory than the server that is measured.
"""

from __future__ import annotations

import asyncio
import base64
import re
import resource
import socket
from collections.abc import Callable
from itertools import cycle
from uuid import uuid4

import msgspec
from httpx import AsyncClient
from msgspec import Struct

from coach.bench.rig import Rig, rig
from coach.bench.wire import ask_coach, percentiles, question
from coach.realtime.hub import MAX_SOCKETS
from coach.testing.stub_script import Answer, Script

WINDOW = 4096
AT_ONCE = 50


class Size(Struct, frozen=True):
    """How many sockets. One that never reads asks for ``pieces`` of ``piece`` characters, then ``again`` times."""

    idle: int = 2_000
    deaf: int = 200
    pieces: int = 8
    piece: int = 2_000
    again: int = 14
    others: int = 10
    rounds: int = 30
    settle: float = 25.0


SMOKE = Size(idle=40, deaf=4, others=2, rounds=3, settle=0.5)
PATIENCE = 60.0
QUIET = 0.1
"""CPU seconds a second of a server that has nothing left to do."""


class Result(Struct, frozen=True):
    """Memory of the server process in KiB (resident), times to first token of others in milliseconds."""

    idle: int
    idle_kib: float
    deaf: int
    dropped: int
    deaf_kib: float
    others_p50: float
    others_p99: float
    others_p50_beside_deaf: float
    others_p99_beside_deaf: float
    answered: int


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Idle sockets first, then the others alone, then beside readers that never read."""
    _allow_files(size.idle + size.deaf + 500)
    users = max(size.idle, size.deaf) // MAX_SOCKETS + size.others
    async with rig(users, tokens=5, rate=0, progress=progress, has_lives=False) as place:
        others = place.tokens[: size.others]
        await _times(place, others, size.rounds)
        before = place.resident()
        progress(f"opening {size.idle} sockets")
        idle = await _opened(place, place.tokens[size.others :], size.idle)
        await asyncio.sleep(size.settle)
        idle_kib = (place.resident() - before) / size.idle
        for each in idle:
            each.close()
        await asyncio.sleep(1)

        progress("others alone")
        alone = await _times(place, others, size.rounds)
        progress(f"{size.deaf} readers that never read")
        await _script(place, Answer(text=" ".join(["x" * size.piece] * size.pieces)))
        before = place.resident()
        deaf = await _opened(place, place.tokens[size.others :], size.deaf)
        asked = [(each, uuid4().hex) for each in deaf]
        for each, conversation in asked:
            await asyncio.get_running_loop().sock_sendall(each, _masked(_question(conversation)))
        await _quiet(place)
        for each, conversation in asked:
            await asyncio.get_running_loop().sock_sendall(each, _resumes(conversation, size.again))
        await _script(place, Answer(tokens=5))
        await _quiet(place)
        beside = await _times(place, others, size.rounds)
        deaf_kib = place.resident() - before
        dropped = await _dropped(place, size.deaf)
        for each in deaf:
            each.close()
    (a50, a99), (b50, b99) = ((cuts[49], cuts[98]) for cuts in map(percentiles, (alone, beside)))
    return Result(size.idle, idle_kib, size.deaf, dropped, deaf_kib, a50, a99, b50, b99, len(alone) + len(beside))


async def _opened(place: Rig, tokens: list[str], count: int) -> list[socket.socket]:
    """Sockets of these users, as many each as the limit allows."""
    owners = cycle(tokens)
    found: list[socket.socket] = []
    while len(found) < count:
        batch = (_open(place.port, next(owners)) for _ in range(min(AT_ONCE, count - len(found))))
        found += await asyncio.gather(*batch)
    return found


async def _open(port: int, token: str) -> socket.socket:
    carrier = socket.socket()
    carrier.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    carrier.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(carrier, ("127.0.0.1", port))
    key = base64.b64encode(uuid4().bytes).decode()
    head = (
        f"GET /ws/chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: coach.v1, {token}\r\n\r\n"
    )
    await loop.sock_sendall(carrier, head.encode())
    answer = await loop.sock_recv(carrier, 1024)
    if b" 101 " not in answer:
        raise RuntimeError(f"a socket was refused: {answer[:100]!r}")
    return carrier


def _resumes(conversation: str, count: int) -> bytes:
    frames = ({"type": "resume", "requestId": f"r{place}", "id": conversation} for place in range(2, count + 2))
    return b"".join(_masked(msgspec.json.encode(frame)) for frame in frames)


async def _quiet(place: Rig) -> None:
    """Until the server has done what it was asked: the readers are to be measured, not their turns."""
    for _ in range(int(PATIENCE)):
        before = place.server_cpu()
        await asyncio.sleep(1)
        if place.server_cpu() - before < QUIET:
            return


async def _dropped(place: Rig, expected: int) -> int:
    """How many the server has let go of with 1013, as it counts them."""
    counted = 0
    async with AsyncClient() as client:
        for _ in range(int(PATIENCE)):
            metrics = (await client.get(f"http://127.0.0.1:{place.port}/metrics")).text
            found = re.search(r'^coach_sockets_closed_total\{code="1013"\} (\d+)', metrics, re.MULTILINE)
            counted = int(found[1]) if found else 0
            if counted >= expected:
                break
            await asyncio.sleep(1)
    return counted


def _question(conversation: str) -> bytes:
    return question("How is it going?", conversation, type="send", requestId="r1")


def _masked(payload: bytes) -> bytes:
    """A client's text frame (RFC 6455, section 5.2), under a mask of zeros."""
    if len(payload) < 126:
        return b"\x81" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload
    return b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


async def _times(place: Rig, tokens: list[str], rounds: int) -> list[float]:
    async def worker(token: str) -> list[float]:
        return [await _first_token(place, token) for _ in range(rounds)]

    return [time for times in await asyncio.gather(*map(worker, tokens)) for time in times]


async def _first_token(place: Rig, token: str) -> float:
    timing = await ask_coach(place.port, token, "How is it going?")
    return timing.first_ms


async def _script(place: Rig, answer: Answer) -> None:
    async with AsyncClient() as client:
        script = msgspec.json.encode(Script(always=answer))
        await client.post(f"http://127.0.0.1:{place.stub_port}/_stub/script", content=script)


def _allow_files(count: int) -> None:
    """Here and in the server, which inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count if hard < 0 else min(count, hard), hard))


def table(result: Result) -> str:
    grown = result.others_p99_beside_deaf / result.others_p99
    return "\n".join(
        [
            f"{result.idle:,} idle sockets          {result.idle_kib:8.1f} KiB each; goal: at most 40",
            f"{result.deaf:,} that never read        {result.deaf_kib / 1024:8.1f} MiB in all; goal: at most 100",
            f"  dropped with 1013        {result.dropped:8,}",
            "first token of others [ms]      p50      p99",
            f"  alone                    {result.others_p50:8.1f} {result.others_p99:8.1f}",
            f"  beside those             {result.others_p50_beside_deaf:8.1f} {result.others_p99_beside_deaf:8.1f}"
            f"   x {grown:.2f}; goal: at most 2",
        ]
    )
