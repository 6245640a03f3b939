"""``coach bench strangers``: what 200 MiB from nobody cost the server, and how soon it lets silence go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter

from msgspec import Struct

from coach.bench.rig import Rig, rig

PIECE = b"x" * 65_536
PATIENCE = 90.0
GOAL_MIB, GOAL_SECONDS = 20, 60

_REQUEST = b"POST /health/live HTTP/1.1\r\nhost: x\r\n"
_CHUNKED = _REQUEST + b"transfer-encoding: chunked\r\n\r\n"
WAYS: dict[str, tuple[bytes, bytes]] = {
    "a head": (_REQUEST, b"x-more: %s\r\n" % PIECE[:8_000]),
    "a body": (b"POST /api/chat HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n", PIECE),
    "chunk extensions": (_CHUNKED, b"1;x=%s\r\nx\r\n" % PIECE[:8_000]),
    "trailers": (_CHUNKED + b"0\r\n", b"x-more: %s\r\n" % PIECE[:8_000]),
}
"""How each begins, and what is sent again and again after it."""


class Size(Struct, frozen=True):
    """``mib`` are sent in each way over ``connections`` at a time, which come again when they are closed."""

    mib: int = 200
    connections: int = 100
    silent: int = 500


SMOKE = Size(connections=20, silent=0)


class Way(Struct, frozen=True):
    """MiB that the server took more than before, at the most; seconds until the last connection was closed."""

    name: str
    mib: float
    seconds: float


class Result(Struct, frozen=True):
    size: Size
    ways: list[Way]


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Each way by itself: what is sent without end, then those that fall silent in it."""
    ways = []
    async with rig(1, tokens=1, rate=0, progress=progress, has_lives=False) as place:
        for name, (opening, more) in {**WAYS, "nothing": (b"", b"")}.items():
            progress(f"{size.mib} MiB of {name}" if more else "silence")
            ways.append(await _measure(place, size, name, opening, more))
    return Result(size, ways)


async def _measure(place: Rig, size: Size, name: str, opening: bytes, more: bytes) -> Way:
    before, most = place.resident(), 0

    async def watch() -> None:
        nonlocal most
        for _ in count():
            most = max(most, place.resident())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    if more:
        left = iter(range(size.mib * 2**20 // len(more)))
        await asyncio.gather(*(_sends(place.port, opening, more, left) for _ in range(size.connections)))
    began = perf_counter()
    await asyncio.gather(*(_falls_silent(place.port, opening) for _ in range(size.silent)))
    seconds = perf_counter() - began
    watching.cancel()
    return Way(name, (most - before) / 1024, seconds)


async def _sends(port: int, opening: bytes, more: bytes, left: Iterator[int]) -> None:
    """Its share of all, over as many connections as the server makes of it."""
    for _ in left:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(opening + more)
            for _ in left:
                writer.write(more)
                await writer.drain()
                if reader.at_eof() or writer.is_closing():
                    break
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


async def _falls_silent(port: int, opening: bytes) -> None:
    """Until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(opening)
            while await reader.read(65_536):
                pass
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


def table(result: Result) -> str:
    size = result.size
    lines = [f"{size.mib} MiB over {size.connections} connections, then {size.silent} that fall silent"]
    for way in result.ways:
        is_met = way.mib <= GOAL_MIB and way.seconds <= GOAL_SECONDS
        lines.append(f"  {way.name:18} {way.mib:7.1f} MiB {way.seconds:6.1f} s   {'met' if is_met else 'MISSED'}")
    return "\n".join([*lines, f"goal: at most {GOAL_MIB} MiB more, all closed within {GOAL_SECONDS} s"])
