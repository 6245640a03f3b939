"""``coach bench burst``: what hundreds of turns at once do to themselves, and to a user who only wants to see a page.

First many users ask at once, as often as each may. Then one user asks far more often than that. All the while another
user reads ``GET /api/me/quota`` again and again, from a thread of its own, as they did before in a quiet minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http.client import HTTPConnection
from threading import Event
from time import perf_counter
from typing import TypeVar

from msgspec import Struct

from coach.bench.rig import Rig, rig
from coach.bench.turn import QUESTIONS
from coach.bench.wire import ask_coach, percentiles

T = TypeVar("T")

GOAL_MS = 250.0
"""The 99th percentile of the other user's request."""

PAUSE = 0.02


class Size(Struct, frozen=True):
    """``users`` times ``each`` turns at once, and then ``greedy`` of one user; answers of ``tokens`` at ``rate``."""

    users: int = 50
    each: int = 8
    greedy: int = 250
    tokens: int = 40
    rate: float = 10.0
    quiet: float = 5.0


SMOKE = Size(users=2, each=2, greedy=12, tokens=6, rate=20.0, quiet=0.3)


class Burst(Struct, frozen=True):
    """``whole``: turns that were answered to the end; ``refused``: with 429; ``broken``: all others, such as a living
    turn that was closed as an orphan. Milliseconds of the other user's requests."""

    name: str
    turns: int
    whole: int
    refused: int
    broken: int
    requests: int
    p50: float
    p99: float
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.broken and self.p99 <= GOAL_MS


class Result(Struct, frozen=True):
    quiet_p50: float
    quiet_p99: float
    bursts: list[Burst]


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a rig of its own. Bounded in count and time; nothing leaves loopback."""
    async with rig(size.users + 1, size.tokens, size.rate, progress) as place:
        *many, other = place.tokens
        await _turn(place, other, 0)
        progress("a quiet minute")
        _, quiet = await _watched(place, other, asyncio.sleep(size.quiet))
        bursts = []
        for name, users in (("many users", many * size.each), ("one user", many[:1] * size.greedy)):
            progress(f"{name}, {len(users)} turns at once")
            began = perf_counter()
            turns = asyncio.gather(*(_turn(place, token, number) for number, token in enumerate(users)))
            ends, took = await _watched(place, other, turns)
            bursts.append(_burst(name, ends, took, perf_counter() - began))
    cuts = percentiles(quiet)
    return Result(cuts[49], cuts[98], bursts)


def table(result: Result) -> str:
    head = "GET /api/me/quota of another user [ms]      p50      p99      turns   whole  refused  broken   seconds"
    quiet = f"  in a quiet minute                     {result.quiet_p50:7.1f}  {result.quiet_p99:7.1f}"
    rows = [
        f"  beside {b.name:<30} {b.p50:7.1f}  {b.p99:7.1f}    {b.turns:>7} {b.whole:>7}  {b.refused:>7} {b.broken:>7}"
        f"   {b.seconds:7.1f}   {'holds' if b.holds else 'does not hold'}"
        for b in result.bursts
    ]
    return "\n".join([head, quiet, *rows, f"it holds with p99 at most {GOAL_MS:.0f} ms and no turn broken"])


def _burst(name: str, ends: Sequence[str], took: Sequence[float], seconds: float) -> Burst:
    whole, refused = ends.count("whole"), ends.count("refused")
    cuts = percentiles(took)
    return Burst(name, len(ends), whole, refused, len(ends) - whole - refused, len(took), cuts[49], cuts[98], seconds)


async def _turn(place: Rig, token: str, number: int) -> str:
    """How it ended: whole, refused, broken."""
    text = QUESTIONS[number % len(QUESTIONS)]
    try:
        await ask_coach(place.port, token, text, needs=b'"type":"finish"', longest=120.0)
    except (RuntimeError, OSError, TimeoutError) as error:
        return "refused" if "answered 429" in str(error) else "broken"
    return "whole"


async def _watched(place: Rig, token: str, work: Awaitable[T]) -> tuple[T, list[float]]:
    """What ``work`` gives, and how long each of the other user's requests took meanwhile."""
    has_ended = Event()
    watching = asyncio.create_task(asyncio.to_thread(_watch, place.port, token, has_ended))
    try:
        found = await work
    finally:
        has_ended.set()
        took = await watching
    return found, took


def _watch(port: int, token: str, has_ended: Event) -> list[float]:
    took = list[float]()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    while not has_ended.wait(PAUSE):
        began = perf_counter()
        connection.request("GET", "/api/me/quota", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"/api/me/quota answered {answer.status}")
        took.append((perf_counter() - began) * 1000)
    connection.close()
    return took
