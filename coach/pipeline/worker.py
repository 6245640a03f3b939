"""The worker claims due rows, embeds them in large batches and stores the vectors. A failed batch does not stop it. It
needs no notification, any number may run, and it may be killed at any moment: all state is in the queue.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import Any

import psycopg
import structlog

from coach.database.pool import Database
from coach.database.wake import POLL
from coach.errors import DatabaseBusy, DatabaseUnavailable, EmbedderUnavailable
from coach.metrics import EMBEDDED, EMBEDDER_PAUSES
from coach.pipeline.embedding import embed
from coach.pipeline.entities import RowPlan, Text, read_rows
from coach.pipeline.queue import LEASE, Batch, Queue, QueueRow, backoff
from coach.pipeline.reembed import Reembedding
from coach.pipeline.storing import store
from coach.realtime.pushes import notify_pushes
from coach.retrieval.base import Embedder
from coach.values.background import beside, log_failure

_log = structlog.get_logger(__name__)

STOP_GRACE = 5.0
"""Seconds in which a stop lets the batch at hand be finished; then its leases are given back."""

Build = Callable[[str], Embedder | None]
"""The embedder of a model's name, or None where it cannot be had."""

PART = 500
"""Texts that are embedded and stored together: their vectors take 3 MB. A row's texts stay together."""


class Worker:
    """One worker; a process needs no more than one.

    ``db`` may become the operator (``urls.worker``). ``build`` finds the embedder of a model that is being replaced.
    ``wait`` sleeps for at most so many seconds, less where it hears of work.
    """

    def __init__(
        self,
        db: Database,
        embedder: Embedder,
        *,
        build: Build = lambda model: None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        poll: float = POLL,
    ) -> None:
        self._db, self._embedder, self._build, self._wait, self._poll = db, embedder, build, wait, poll
        self._embedders: dict[str, Embedder | None] = {embedder.model: embedder}
        self._queue = Queue(db)
        self._reembedding = Reembedding(db, embedder)
        self._stopping = asyncio.Event()
        self._failures = 0
        self._paused_until = 0.0

    async def run(self) -> None:
        """Work until ``stop``. Ends early only where it is cancelled, and gives back what it holds either way."""
        async with beside(self._stopping.wait(), "worker_cannot_stop") as stopped:
            while not self._stopping.is_set():
                await self._step_until(stopped)

    async def _step_until(self, stopped: asyncio.Task[Any]) -> None:
        step = asyncio.create_task(self._step())
        try:
            await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                await asyncio.wait({step}, timeout=STOP_GRACE)
        finally:
            step.cancel()
            with suppress(asyncio.CancelledError):
                await step

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stopping.set()

    async def _step(self) -> None:
        """One batch, or one wait."""
        try:
            if self._paused_for() > 0 or not await self.work():
                await self._idle()
        except (DatabaseUnavailable, psycopg.Error) as error:
            # Its rows become due again when the lease ends.
            _log.warning("pipeline_waits_for_database", error=type(error).__name__)
            await asyncio.sleep(backoff(2))

    async def _idle(self) -> None:
        if self._paused_for() > 0:
            await asyncio.sleep(min(self._paused_for(), 30.0))
        elif not self._stopping.is_set():
            await self._wait(self._poll)

    async def work(self) -> bool:
        """Everything that is due now, then a step of a change of model; false where there was nothing to do."""
        if not await self._reembedding.is_current():
            return False
        has_worked = False
        async with aclosing(self._queue.claims()) as batches:
            async for batch in batches:
                async with self._leased(batch):
                    await self._process(batch)
                has_worked = True
                if self._paused_for() > 0:
                    break
        if has_worked or self._paused_for() > 0:
            return True
        try:
            return await self._reembedding.step()
        except EmbedderUnavailable as error:
            self._pause(error)
            return True

    async def _process(self, batch: Batch) -> None:
        plans, unreadable = await self._read(batch.rows)
        try:
            for part in _parts(plans):
                await self._embed([text for plan in part for text in plan.texts])
                self._failures = 0
                await self._store(batch, part)
        except EmbedderUnavailable as error:
            self._pause(error)
        await self._charge(batch, unreadable)

    async def _read(self, rows: Sequence[QueueRow]) -> tuple[list[RowPlan], dict[QueueRow, str]]:
        """What can be read, and the rows that cannot. One of those costs the others no more than reading them again."""
        try:
            return await read_rows(self._db, rows, self._embedder.model), {}
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is its own fault
            if len(rows) == 1:
                log_failure("row_unreadable", error, table=rows[0].table)
                return [], {rows[0]: f"It could not be read ({type(error).__name__})."}
        middle = len(rows) // 2
        first, second = await self._read(rows[:middle]), await self._read(rows[middle:])
        return [*first[0], *second[0]], first[1] | second[1]

    async def _embed(self, texts: Sequence[Text]) -> None:
        """Put down the outcome of each; none of those whose model can no longer be asked."""
        for model in dict.fromkeys(text.model for text in texts):
            own = [text for text in texts if text.model == model]
            embedder = self._embedder_of(model)
            if embedder is None:
                continue
            try:
                outcomes = await embed(embedder, [text.text for text in own])
            except EmbedderUnavailable as error:
                if error.is_refusal and model != self._embedder.model:
                    # The model that is on its way out does not serve us any more: its outdated vectors go.
                    self._embedders[model] = None
                    continue
                raise
            for text, outcome in zip(own, outcomes, strict=True):
                text.outcome = outcome

    def _embedder_of(self, model: str) -> Embedder | None:
        if model not in self._embedders:
            self._embedders[model] = self._build(model)
        return self._embedders[model]

    async def _store(self, batch: Batch, plans: Sequence[RowPlan]) -> None:
        """If one text of a row is refused, the others are stored and the row is charged."""
        charged = {plan.claimed: plan.fault for plan in plans if plan.fault}
        users = dict.fromkeys(plan.claimed.user_id for plan in plans)
        for user_id in users:
            charged |= await self._store_for(batch, [plan for plan in plans if plan.claimed.user_id == user_id])
        async with self._db.as_operator() as tx:
            await notify_pushes(tx, users)
        await self._charge(batch, charged)

    async def _charge(self, batch: Batch, faults: Mapping[QueueRow, str]) -> None:
        await self._queue.charge(batch, list(faults.items()))
        EMBEDDED.labels("failed").inc(len(faults))

    async def _store_for(self, batch: Batch, plans: Sequence[RowPlan]) -> dict[QueueRow, str]:
        """All of a user's at once, or one by one where the database refuses one of them; returns who was refused."""
        faults: dict[QueueRow, str] = {}
        try:
            EMBEDDED.labels("done").inc(await store(self._db, batch, plans, self._queue.clock()))
        except DatabaseBusy:
            await self._queue.postpone(batch, plans[0].user.user_id)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a row is its own fault
            if len(plans) == 1:
                return {plans[0].claimed: f"The database refused it ({type(error).__name__})."}
            for plan in plans:
                faults |= await self._store_for(batch, [plan])
        return faults

    @asynccontextmanager
    async def _leased(self, batch: Batch) -> AsyncIterator[None]:
        """Renew the leases while inside; afterwards give back what was not finished.

        Not after an error of ours: the attempt stays charged, and whatever row brought it about is soon alone with it.
        """
        try:
            async with beside(self._renew(batch), "leases_not_renewed"):
                yield
        except (asyncio.CancelledError, DatabaseUnavailable):
            await self._queue.release(batch)
            raise
        except Exception as error:  # noqa: BLE001 - one row that cannot be read must not end the pipeline for all
            frames = traceback.format_tb(error.__traceback__)
            _log.error("batch_failed", rows=len(batch.rows), error=type(error).__name__, frames=frames)
            fault = f"It could not be read ({type(error).__name__})."
            await self._queue.charge(batch, [(row, fault) for row in batch.rows])
        else:
            await self._queue.release(batch)

    async def _renew(self, batch: Batch) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            with suppress(DatabaseUnavailable):
                await self._queue.renew(batch)

    def _pause(self, error: EmbedderUnavailable) -> None:
        """Pause for all users: no row is at fault, and more calls would make it worse."""
        self._failures += 1
        EMBEDDER_PAUSES.inc()
        seconds = max(error.retry_after or 0.0, backoff(self._failures))
        self._paused_until = monotonic() + seconds
        _log.warning("pipeline_paused", seconds=round(seconds, 1), error=str(error), is_refusal=error.is_refusal)

    def _paused_for(self) -> float:
        return self._paused_until - monotonic()


def _parts(plans: Sequence[RowPlan]) -> Iterator[list[RowPlan]]:
    """In order, each of a few more than ``PART`` texts at most."""
    part: list[RowPlan] = []
    for plan in plans:
        part.append(plan)
        if sum(len(each.texts) for each in part) >= PART:
            yield part
            part = []
    if part:
        yield part
