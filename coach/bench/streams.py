"""``coach bench streams``: how many answers one server process on one core can stream at once, at the model's pace.

The server has a core of its own; the provider stub, PostgreSQL and the clients share the others. Streams begin spread
out and all overlap before the first one ends. An answer's ideal is the pace itself: so many tokens at so many a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from time import perf_counter

import msgspec
from msgspec import Struct

from coach.bench.rig import Rig, rig
from coach.bench.turn import QUESTIONS
from coach.bench.wire import Timing, ask_coach, percentiles

GOAL = 1.10
"""The 99th percentile of how long an answer takes, by its ideal."""


class Size(Struct, frozen=True):
    """Which numbers of streams are tried, fewest first; ``arrivals`` a second; all overlap for ``together`` seconds."""

    streams: tuple[int, ...] = (100, 200, 300, 400, 500, 700)
    rate: float = 20.0
    arrivals: float = 20.0
    together: float = 5.0
    users: int = 25


SMOKE = Size(streams=(4,), rate=50.0, arrivals=20.0, together=0.4, users=2)


class Step(Struct, frozen=True):
    """``median`` and ``p99`` are multiples of the ideal, in seconds; ``core`` is the server's share of its own."""

    streams: int
    ideal: float
    median: float
    p99: float
    errors: int
    core: float

    @property
    def holds(self) -> bool:
        return not self.errors and self.p99 <= GOAL


class Result(Struct, frozen=True):
    rate: float
    steps: list[Step]

    @property
    def most(self) -> int:
        """The largest number that held; 0 where none did."""
        return max((step.streams for step in self.steps if step.holds), default=0)


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Tries more and more until one does not hold. Bounded in count; nothing leaves loopback."""
    steps: list[Step] = []
    with _spared_core() as core:
        async with rig(size.users, 1, size.rate, progress, turns_at_once=max(size.streams)) as place:
            _pin(place.server_pid, core)
            for streams in size.streams:
                progress(f"{streams} streams at once")
                steps.append(await _step(place, size, streams))
                if not steps[-1].holds:
                    break
    return Result(size.rate, steps)


def table(result: Result) -> str:
    head = f"streams at {result.rate:g} tokens a second     ideal    median     p99    errors    of the server's core"
    rows = [
        f"  {s.streams:>4}                          {s.ideal:6.1f} s   {s.median:6.3f}  {s.p99:6.3f}"
        f"   {s.errors:>5}      {s.core:5.0%}   {'holds' if s.holds else 'does not hold'}"
        for s in result.steps
    ]
    return "\n".join(
        [head, *rows, f"the most that held: {result.most} (p99 at most {GOAL:.2f} of the ideal, no errors)"]
    )


def as_json(result: Result) -> str:
    return msgspec.json.encode({"rate": result.rate, "most": result.most, "steps": result.steps}).decode()


async def _step(place: Rig, size: Size, streams: int) -> Step:
    ramp = streams / size.arrivals
    tokens = round((ramp + size.together) * size.rate)
    await place.answer(tokens, size.rate)
    users = cycle(place.tokens)
    before, began = place.server_cpu(), perf_counter()
    told = await asyncio.gather(
        *(_stream(place, next(users), number, number / size.arrivals) for number in range(streams)),
        return_exceptions=True,
    )
    core = (place.server_cpu() - before) / (perf_counter() - began)
    ideal = tokens / size.rate
    took = [timing.total_ms / 1000 / ideal for timing in told if isinstance(timing, Timing)]
    errors = streams - len(took)
    cuts = percentiles(took)
    return Step(streams, ideal, cuts[49], cuts[98], errors, core)


async def _stream(place: Rig, token: str, number: int, after: float) -> Timing:
    await asyncio.sleep(after)
    text = QUESTIONS[number % len(QUESTIONS)]
    return await ask_coach(place.port, token, text, longest=300.0, needs=b'"type":"finish"')


@contextmanager
def _spared_core() -> Iterator[int]:
    """Keep this process and all that it starts off one core; on a machine of one core there is none to spare."""
    cores = sorted(os.sched_getaffinity(0))
    core, *others = cores
    os.sched_setaffinity(0, others or cores)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, cores)


def _pin(pid: int, core: int) -> None:
    """Every thread: each has an affinity of its own."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
