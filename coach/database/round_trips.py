"""Statements that travel together: one write, one answer to wait for.

psycopg sends each statement of a pipeline by itself and waits for `begin` and for `commit` in addition. Every write
wakes the backend, which on busy cores takes the processor from whoever wrote: a turn's 87 writes were half of the
server's time. Figures in ``docs/decisions/0013-round-trips.md``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import PQGen
from psycopg.generators import send
from psycopg.rows import AsyncRowFactory, tuple_row


class Statement(NamedTuple):
    """SQL with its parameters, not yet sent. A named query makes one (``coach.database.queries``)."""

    text: LiteralString
    parameters: Mapping[str, Any] | tuple[Any, ...] = ()
    row: AsyncRowFactory[Any] = tuple_row

    async def send(self, tx: AsyncConnection[Any]) -> AsyncCursor[Any]:
        return await tx.cursor(row_factory=self.row).execute(self.text, self.parameters)


COMMIT = Statement("commit")
"""Last of a transaction's statements, so that it needs no round trip of its own."""


class OneWrite(AsyncPipeline):
    """Collects statements until a caller waits for an answer, then sends all of them and a sync in one write."""

    def _communicate_gen(self) -> PQGen[None]:
        """Called after each statement: not yet."""
        return
        yield  # makes it a generator, as its callers expect

    def _fetch_gen(self, *, flush: bool) -> PQGen[None]:
        """With a sync in place of a request to flush, so that the end of the pipeline has nothing left to wait for."""
        if not self.result_queue:
            return
        if flush and self.result_queue[-1] is not None:
            self._enqueue_sync()
        while self.command_queue:
            self.command_queue.popleft()()  # into libpq's buffer, which holds 64 kB before it writes by itself
        yield from send(self.pgconn)
        yield from super()._fetch_gen(flush=False)

    def _exit_gen(self) -> PQGen[None]:
        yield from self._fetch_gen(flush=True)


class Connection(AsyncConnection[Any]):
    """An ``AsyncConnection`` whose pipelines write once a round trip."""

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """psycopg's own, but for the class that it makes."""
        async with self.lock:
            self._check_connection_ok()
            if self._pipeline is None:
                self._pipeline = OneWrite(self)
            pipeline = self._pipeline
        try:
            async with pipeline:
                yield pipeline
        finally:
            if pipeline.level == 0:
                async with self.lock:
                    self._pipeline = None


async def send_together(tx: AsyncConnection[Any], *statements: Statement) -> list[list[Any]]:
    """The rows of each statement, in one round trip."""
    async with tx.pipeline():
        cursors = [await statement.send(tx) for statement in statements]
    return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]
