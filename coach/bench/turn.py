"""``coach bench turn``: what the server adds to the model's time, what a chunk costs, how many turns a core carries.

The model is the provider stub on loopback; asked directly and through the server in turn, by the same client, it gives
two distributions whose percentiles are subtracted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import cycle
from time import perf_counter

import msgspec
from msgspec import Struct

from coach.bench.rig import MODEL, Rig, rig
from coach.bench.wire import Timing, ask, percentiles, question

QUESTIONS = (
    "What should I do about my knee this week?",
    "How did the interviews go?",
    "Which tasks are overdue?",
    "What did the doctor say about my mother?",
    "Am I ready for the language exam?",
    "When did I last sleep well?",
)
JSON_ANSWER = "application/json"
WARM_UPS = 3


class Size(Struct, frozen=True):
    """How much is asked. Paced streams of ``tokens`` at ``rate`` a second."""

    users: int = 25
    tokens: int = 40
    rate: float = 20.0
    alone: int = 40
    crowd: int = 50
    rounds: int = 4
    plain: int = 600
    plain_at_once: int = 8


SMOKE = Size(users=4, tokens=5, rate=50.0, alone=3, crowd=4, rounds=1, plain=10, plain_at_once=2)


class Added(Struct, frozen=True):
    """Time to first token at a concurrency, in milliseconds; ``added`` is through the server minus direct."""

    concurrency: int
    turns: int
    direct_p50: float
    direct_p99: float
    server_p50: float
    server_p99: float
    added_p50: float
    added_p99: float


class Result(Struct, frozen=True):
    added: list[Added]
    cpu_us_per_chunk: float
    turns_per_core_second: float
    turns_per_second: float
    server_cpu_ms_per_turn: float


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a rig of its own. Bounded in count and time; nothing leaves loopback."""
    async with rig(size.users, size.tokens, size.rate, progress) as place:
        await _warm_up(place)
        progress("one at a time")
        alone = await _compare(place, 1, size.alone)
        progress(f"{size.crowd} at once")
        before = place.server_cpu()
        crowd = await _compare(place, size.crowd, size.rounds)
        streamed = place.server_cpu() - before
        progress("without streaming")
        await place.answer(size.tokens, 0.0)
        before, began = place.server_cpu(), perf_counter()
        await _in_parallel(place, size.plain_at_once, size.plain // size.plain_at_once, JSON_ANSWER)
        spent, took = place.server_cpu() - before, perf_counter() - began
    turns = size.plain // size.plain_at_once * size.plain_at_once
    per_turn = spent / turns
    chunks = crowd.turns * size.tokens
    return Result(
        added=[alone, crowd],
        cpu_us_per_chunk=max(0.0, streamed - crowd.turns * per_turn) / chunks * 1e6,
        turns_per_core_second=1 / per_turn if per_turn else 0.0,
        turns_per_second=turns / took,
        server_cpu_ms_per_turn=per_turn * 1000,
    )


def table(result: Result) -> str:
    head = "time to first token [ms]     direct p50   p99   server p50   p99    added p50   p99"
    rows = [
        f"  at concurrency {a.concurrency:<3} ({a.turns:>4})   {a.direct_p50:8.1f} {a.direct_p99:6.1f}"
        f"   {a.server_p50:8.1f} {a.server_p99:6.1f}   {a.added_p50:8.1f} {a.added_p99:6.1f}"
        for a in result.added
    ]
    cpu = [
        f"server CPU a streamed chunk  {result.cpu_us_per_chunk:8.0f} µs, less what a turn costs without streaming",
        f"turns without streaming      {result.turns_per_core_second:8.0f} a second of one core's time"
        f" ({result.server_cpu_ms_per_turn:.1f} ms each)",
        f"  with everything on this machine {result.turns_per_second:5.0f} a second",
    ]
    return "\n".join([head, *rows, *cpu])


async def _compare(rig: Rig, concurrency: int, rounds: int) -> Added:
    """Direct and through the server, interleaved: each worker has a neighbour that asks the stub at the same time."""
    direct, through = await asyncio.gather(
        _in_parallel(rig, concurrency, rounds, None), _in_parallel(rig, concurrency, rounds, "text/event-stream")
    )
    (d50, d99), (s50, s99) = _percentiles(direct), _percentiles(through)
    return Added(concurrency, len(through), d50, d99, s50, s99, s50 - d50, s99 - d99)


async def _in_parallel(rig: Rig, workers: int, rounds: int, accept: str | None) -> list[Timing]:
    """``workers`` that ask ``rounds`` times each; ``accept`` None asks the stub itself."""
    users = cycle(rig.tokens)
    dice = random.Random(7)  # noqa: S311 - spreads the starts, guards nothing
    stagger = 2.0 if workers > 8 else 0.0

    async def worker(number: int) -> list[Timing]:
        token = next(users)
        await asyncio.sleep(dice.random() * stagger)
        return [await _ask(rig, token, QUESTIONS[(number + n) % len(QUESTIONS)], accept) for n in range(rounds)]

    batches = await asyncio.gather(*(worker(number) for number in range(workers)))
    return [timing for batch in batches for timing in batch]


async def _ask(rig: Rig, token: str, text: str, accept: str | None) -> Timing:
    if accept is None:
        messages = [{"role": "user", "content": text}]
        body = msgspec.json.encode({"model": MODEL, "stream": True, "messages": messages})
        return await ask(rig.stub_port, "/v1/chat/completions", body, {}, b'"content"')
    marker = b'"text-delta"' if accept != JSON_ANSWER else b'"interaction_id"'
    headers = {"Authorization": f"Bearer {token}", "Accept": accept}
    return await ask(rig.port, "/api/chat", question(text), headers, marker)


async def _warm_up(rig: Rig) -> None:
    """Each connection plans each statement once, and the first search on it takes 12 ms more: that is start-up."""
    for text in QUESTIONS[:WARM_UPS]:
        await asyncio.gather(*(_ask(rig, token, text, JSON_ANSWER) for token in rig.tokens))


def _percentiles(timings: list[Timing]) -> tuple[float, float]:
    cuts = percentiles([timing.first_ms for timing in timings])
    return cuts[49], cuts[98]
