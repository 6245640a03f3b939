"""``coach bench rows``: whether a server answers others while its worker cuts and embeds long journal entries.

A real server process with its worker inside, the offline embedder. One user's app writes 500 entries of 30 kB and one
of 100 kB in one transaction. Until all are embedded somebody asks ``/health/live`` every few milliseconds: it needs
neither the database nor a model, so what it takes is how long the event loop was held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from httpx import AsyncClient
from msgspec import Struct

from coach.bench.rig import newcomers, server
from coach.bench.wire import percentiles
from coach.database.pool import Database
from coach.database.queries import load
from coach.testing.scratch import scratch

GOAL = 0.25
LONGEST = 600.0
"""Seconds after which the bench ends with an error."""

PAUSE = 0.01

_sql = load("bench")


class Size(Struct, frozen=True):
    """``entries`` of ``bytes`` each, and one of ``longest`` bytes."""

    entries: int = 500
    bytes: int = 30_000
    longest: int = 100_000


SMOKE = Size(entries=5, bytes=3_000, longest=10_000)


class Result(Struct, frozen=True):
    """Seconds: until all was embedded, and what ``/health/live`` took meanwhile, ``asked`` times."""

    entries: int
    pieces: int
    embedded: float
    asked: int
    p50: float
    p99: float
    slowest: float
    goal: float = GOAL

    @property
    def is_met(self) -> bool:
        return self.slowest <= self.goal


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a server of its own; nothing leaves loopback.

    :raises TimeoutError: the entries were not embedded within ``LONGEST``.
    """
    async with scratch("coach-bench-") as place:
        (user_id,) = await newcomers(place.owner, 1)
        with server(place.home, {"COACH_CHAT_MODEL": "offline"}) as (_, port):
            progress(f"{size.entries} entries of {size.bytes:,} bytes and one of {size.longest:,}")
            async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LONGEST) as client:
                await client.get("/health/live")  # the connection's own start
                async with place.owner.as_user(user_id, role="authenticated") as tx:
                    for entries, length in ((size.entries, size.bytes), (1, size.longest)):
                        await _sql.write_entries.run(tx, user_id=user_id, entries=entries, bytes=length)
                began = perf_counter()
                waits = await _ask_until_embedded(place.owner, client)
                embedded = perf_counter() - began
        async with place.owner.as_operator() as tx:
            pieces = await _sql.count_pieces.value(tx, user_id=user_id)
    cuts = percentiles(waits)
    return Result(size.entries + 1, pieces, embedded, len(waits), cuts[49], cuts[98], max(waits))


async def _ask_until_embedded(db: Database, client: AsyncClient) -> list[float]:
    waits = []
    done = asyncio.create_task(_embedded(db))
    async with asyncio.timeout(LONGEST):
        while not done.done():
            began = perf_counter()
            (await client.get("/health/live")).raise_for_status()
            waits.append(perf_counter() - began)
            await asyncio.sleep(PAUSE)
    await done
    return waits


async def _embedded(db: Database) -> None:
    while True:
        async with db.as_operator() as tx:
            if not await _sql.is_queued.value(tx):
                return
        await asyncio.sleep(0.2)


def table(result: Result) -> str:
    return "\n".join(
        [
            f"{result.entries} entries, {result.pieces:,} pieces embedded in {result.embedded:.1f} s",
            f"/health/live meanwhile, {result.asked:,} times [ms]: p50 {result.p50 * 1000:.1f}, "
            f"p99 {result.p99 * 1000:.1f}, slowest {result.slowest * 1000:.1f}",
            f"goal: {result.goal * 1000:g} ms throughout: {'met' if result.is_met else 'MISSED'}",
        ]
    )
