"""``coach bench pipeline``: rows a second with an embedder of 50 ms a call, against one call a row in the same run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple
from uuid import UUID

import numpy as np
from msgspec import Struct

from coach.bench.rig import newcomers
from coach.database.pool import Database
from coach.database.queries import load
from coach.pipeline.worker import Worker
from coach.retrieval.base import DIMENSIONS, Vector
from coach.testing.scratch import scratch

DELAY = 0.05
CREW = 4

_sql = load("bench")


class Size(Struct, frozen=True):
    users: int = 20
    rows: int = 10_000
    single_rows: int = 200


SMOKE = Size(users=4, rows=400, single_rows=10)


class Result(Struct, frozen=True):
    """Rows a second, and calls of the embedder for ``rows``."""

    one_by_one: float
    one_worker: float
    four_workers: float
    calls: int
    rows: int


class SlowEmbedder:
    """Takes 50 ms a call, as a provider does whatever the batch; counts them."""

    model = "bench"

    def __init__(self) -> None:
        self.calls = 0
        self._dice = np.random.default_rng(7)

    async def embed_query(self, text: str) -> Vector:
        rows = await self.embed_documents([text])
        return rows.reshape(-1)

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        self.calls += 1
        await asyncio.sleep(DELAY)
        return self._dice.standard_normal((len(texts), DIMENSIONS), np.float32)

    async def aclose(self) -> None:
        """There is nothing to let go of."""


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a database of its own; nothing leaves this machine."""
    async with scratch("coach-bench-") as place:
        db = place.owner
        people = await newcomers(db, size.users)
        progress(f"{size.single_rows} rows, one call each")
        one_by_one = await _one_by_one(db, people, size.single_rows)
        progress(f"{size.rows:,} rows, one worker")
        one, calls = await _measured(db, people, size.rows, 1)
        progress(f"{size.rows:,} rows, {CREW} workers")
        four, _ = await _measured(db, people, size.rows, CREW)
    return Result(one_by_one, one, four, calls, size.rows)


async def _queue(db: Database, people: Sequence[UUID], rows: int) -> None:
    for person in people:
        async with db.as_user(person) as tx:
            await _sql.add_tasks.run(tx, user_id=person, count=rows // len(people))


class _Task(NamedTuple):
    user_id: UUID
    entity_id: UUID
    text: str


async def _one_by_one(db: Database, people: Sequence[UUID], rows: int) -> float:
    """What one would write first: read a row, embed it, store it, take it out of the queue."""
    await _queue(db, people, rows)
    embedder, started, done = SlowEmbedder(), perf_counter(), 0
    while True:
        async with db.as_operator() as tx:
            row = await _sql.next_task.one(tx, _Task)
            if row is None:
                break
            vector = await embedder.embed_query(row.text)
            await _sql.store_task.run(
                tx,
                user_id=row.user_id,
                task_id=row.entity_id,
                text=row.text,
                embedding=vector.tolist(),
                model=embedder.model,
            )
            done += 1
    return done / (perf_counter() - started)


async def _measured(db: Database, people: Sequence[UUID], rows: int, crew: int) -> tuple[float, int]:
    await _queue(db, people, rows)
    embedder = SlowEmbedder()
    workers = [Worker(db, embedder) for _ in range(crew)]
    started = perf_counter()
    await asyncio.gather(*(_until_empty(db, worker) for worker in workers))
    return rows / (perf_counter() - started), embedder.calls


async def _until_empty(db: Database, worker: Worker) -> None:
    while True:
        if not await worker.work():
            async with db.as_operator() as tx:
                if not await _sql.is_queued.value(tx):
                    return
            await asyncio.sleep(0.01)


def table(result: Result) -> str:
    ratio = result.one_worker / result.one_by_one
    return "\n".join(
        [
            f"an embedder of {DELAY * 1000:.0f} ms a call      rows a second",
            f"one call a row               {result.one_by_one:13,.0f}",
            f"one worker                   {result.one_worker:13,.0f}   {ratio:.0f}x",
            f"{CREW} workers                    {result.four_workers:13,.0f}",
            f"calls for {result.rows:,} rows: {result.calls}",
        ]
    )
