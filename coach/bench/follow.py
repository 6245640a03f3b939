"""``coach bench follow``: how late a reader in another server process gets what the first process sent to its own
reader.

Two server processes over one database. Each answer is asked for at the first and taken up at the second, at some moment
while it runs; one client reads both, so that both are timed by one clock. A delta's latency is from its arrival at the
first reader to that of its last character at the second. What was said before the second reader came is left out.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable
from time import perf_counter
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from coach.bench.rig import rig, start_second_server
from coach.bench.wire import percentiles, question

GOAL_MS = 800.0
LONGEST = 120.0


class Size(Struct, frozen=True):
    """``turns`` at once, of ``tokens`` at ``rate`` a second; the second readers come within ``spread`` seconds."""

    turns: int = 20
    tokens: int = 300
    rate: float = 20.0
    spread: float = 5.0


SMOKE = Size(turns=2, tokens=120, rate=20.0, spread=0.5)
"""Six seconds: on a busy machine, too, the second reader comes before it is all said."""


class Result(Struct, frozen=True):
    """``same`` counts the turns whose second reader had the same parts, from the first to the last. Milliseconds."""

    turns: int
    same: int
    deltas: int
    p50: float
    p95: float
    longest: float
    goal: float = GOAL_MS

    @property
    def is_met(self) -> bool:
        return self.same == self.turns and self.p95 <= self.goal


class Heard(Struct):
    """The parts that one reader got, each with its time."""

    at: list[float] = []
    parts: list[dict[str, Any]] = []

    @property
    def deltas(self) -> list[tuple[float, int]]:
        """When so many characters of the text were there."""
        told, length = [], 0
        for moment, part in zip(self.at, self.parts, strict=True):
            if part["type"] == "text-delta":
                length += len(part["delta"])
                told.append((moment, length))
        return told

    @property
    def whole(self) -> list[dict[str, Any]]:
        """The parts with their deltas joined: how a text is cut is each reader's own."""
        whole: list[dict[str, Any]] = []
        for part in self.parts:
            if part["type"] == "text-delta" and whole and whole[-1]["type"] == "text-delta":
                whole[-1] = whole[-1] | {"delta": whole[-1]["delta"] + part["delta"]}
            else:
                whole.append(part)
        return whole


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on servers of its own. Bounded in count and time; nothing leaves loopback."""
    async with rig(size.turns, size.tokens, size.rate, progress) as place:
        progress("starting the second server")
        with start_second_server(place) as second:
            progress(f"{size.turns} answers, each read at both")
            dice = random.Random(7)  # noqa: S311 - spreads the readers, guards nothing
            pairs = await asyncio.gather(
                *(_pair(place.port, second, token, dice.random() * size.spread) for token in place.tokens)
            )
    waits = [wait for here, there in pairs for wait in latencies(here, there)]
    cuts = percentiles(waits)
    same = sum(_plain(here) == _plain(there) for here, there in pairs)
    return Result(len(pairs), same, len(waits), cuts[49], cuts[94], max(waits))


def latencies(here: Heard, there: Heard) -> list[float]:
    """Milliseconds, for each delta that came while both readers were there."""
    reached = there.deltas
    lengths = [length for _, length in reached]
    since = there.at[0]
    return [
        (reached[bisect_left(lengths, length)][0] - moment) * 1000 for moment, length in here.deltas if moment >= since
    ]


def _plain(heard: Heard) -> list[dict[str, Any]]:
    """Without the quota's figures, which are those of the moment."""
    return [part for part in heard.whole if part["type"] != "data-quota"]


async def _pair(first: int, second: int, token: str, after: float) -> tuple[Heard, Heard]:
    conversation, begun = uuid4().hex, asyncio.Event()
    body = question("How is it going?", conversation)

    async def follow() -> Heard:
        await begun.wait()
        await asyncio.sleep(after)
        return await _read(second, f"GET /api/chat/{conversation}/stream", token)

    async with asyncio.timeout(LONGEST):
        return await asyncio.gather(_read(first, "POST /api/chat", token, body, begun), follow())


async def _read(port: int, request: str, token: str, body: bytes = b"", begun: asyncio.Event | None = None) -> Heard:
    """One stream to its end, line by line. :raises RuntimeError: it was none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    head = f"{request} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    heard = Heard([], [])
    try:
        while (line := await reader.readline()) and line != b"data: [DONE]\n":
            if line.startswith(b"data: "):
                heard.at.append(perf_counter())
                heard.parts.append(msgspec.json.decode(line[6:]))
                if begun is not None and heard.parts[-1]["type"] == "text-delta":
                    begun.set()
    finally:
        writer.close()
    if not heard.parts or heard.parts[-1]["type"] != "finish":
        raise RuntimeError(f"{request} was not answered to its end")
    return heard


def table(result: Result) -> str:
    return "\n".join(
        [
            f"{result.turns} answers read through another server process: {result.same} told the same, part by part",
            f"{result.deltas} deltas, later than at the first [ms]     p50      p95      max",
            f"{'':37}{result.p50:8.0f} {result.p95:8.0f} {result.longest:8.0f}",
            f"goal: at most {result.goal:.0f} ms at p95, all the same: {'met' if result.is_met else 'MISSED'}",
        ]
    )
