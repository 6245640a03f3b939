"""The embedding queue: claimed per user under a lease, given back or finished under its token."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from msgspec import Struct

from coach.database.operators import yielding_transaction
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import DatabaseBusy
from coach.values.clock import utc_now

_sql = load("pipeline")

BATCH = 500
ATTEMPTS = 8
LEASE = timedelta(seconds=20)
"""A killed worker's rows come back after this; a living one renews it."""

LEVELS = ((0, 2, BATCH), (3, 3, BATCH // 8), (4, 4, BATCH // 64), (5, ATTEMPTS - 1, 1))
"""Fewest and most attempts of a claim, and how many rows it takes. When a row kills its worker, all rows of the claim
are charged. Claims get smaller with each attempt, so that row is soon alone and the others are embedded: 50 random
kills over 1,000 rows buried none of them (tests/integration/pipeline/test_chaos.py)."""

LOCKED_PAUSE = timedelta(seconds=5)
"""Rows that a user's transaction locks are tried again after this time."""

RELEASE_PAUSES = (0.0, 0.1, 0.5)
"""Seconds before each try to give back; a row that is being written by then comes back with the end of its lease."""

SCAN = 50_000
BURIED = "Given up after too many attempts."
LONGEST_BACKOFF = 30.0


class QueueRow(Struct, frozen=True):
    """One row of the queue that is ours until the lease ends."""

    user_id: UUID
    table: str
    id: UUID
    version: int
    attempts: int
    expands: bool
    queued_at: datetime


class Batch(Struct, frozen=True):
    """What one claim took, and the token that fences it."""

    token: UUID
    rows: Sequence[QueueRow]

    @property
    def users(self) -> list[UUID]:
        return list(dict.fromkeys(row.user_id for row in self.rows))


class Queue:
    """Claims of one worker. ``clock`` gives an aware time; workers of several machines may differ by seconds."""

    def __init__(self, db: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._db, self.clock = db, clock

    async def claims(self) -> AsyncGenerator[Batch, None]:
        """A batch of each level that has something due; what has failed too often is buried instead.

        Each is claimed when the one before it is done: a lease that runs while its rows wait for others ends too soon.
        """
        now = self.clock()
        async with self._db.as_operator() as tx:
            due = await _sql.due.rows(tx, tuple, now=now, scan=SCAN)
        await self._bury([user for user, attempts in due if attempts >= ATTEMPTS], now)
        for low, high, size in LEVELS:
            users = [user for user, attempts in due if low <= attempts <= high]
            batch = await self._claim(users, low, high, size, self.clock())
            if batch.rows:
                yield batch

    async def _claim(self, users: Iterable[UUID], low: int, high: int, size: int, now: datetime) -> Batch:
        """Give each user a fair share, so that one user's import does not delay another's edit."""
        token, rows = uuid4(), list[QueueRow]()
        waiting = list(dict.fromkeys(users))
        if not waiting:
            return Batch(token, rows)
        async with self._db.as_operator() as tx:
            for share in (-(-size // len(waiting)), size):
                for user_id in waiting:
                    if len(rows) >= size:
                        break
                    rows += await _sql.claim.rows(
                        tx,
                        QueueRow,
                        user_id=user_id,
                        token=token,
                        now=now,
                        until=now + LEASE,
                        least_attempts=low,
                        most_attempts=high,
                        limit=min(share, size - len(rows)),
                    )
        return Batch(token, rows)

    async def _bury(self, users: Iterable[UUID], now: datetime) -> None:
        for user_id in users:
            with suppress(DatabaseBusy):  # the next claim comes by again
                async with yielding_transaction(self._db) as tx:
                    await _sql.lock_consents.value(tx, user_id=user_id)
                    gone = await _sql.bury.rows(tx, tuple, user_id=user_id, now=now, most_attempts=ATTEMPTS)
                    lines = [audit_line(user_id, table, since, now, error=BURIED) for table, since in gone]
                    await _sql.log_audit.run_each(tx, lines)

    async def renew(self, batch: Batch) -> None:
        until = self.clock() + LEASE
        async with self._db.as_operator() as tx:
            await _sql.renew.run_each(
                tx, [{"user_id": user, "token": batch.token, "until": until} for user in batch.users]
            )

    async def release(self, batch: Batch) -> None:
        """Give back what is still ours, uncharged."""
        for pause in RELEASE_PAUSES:
            await asyncio.sleep(pause)
            async with self._db.as_operator() as tx:
                left = await _sql.still_leased.values(tx, users=batch.users, token=batch.token)
                for user_id in left:
                    await _sql.release_rows.run(tx, user_id=user_id, token=batch.token, not_before="-infinity")
            if not left:
                break

    async def postpone(self, batch: Batch, user_id: UUID) -> None:
        """The same of one user's, for a while."""
        async with self._db.as_operator() as tx:
            await _sql.release_rows.run(tx, user_id=user_id, token=batch.token, not_before=self.clock() + LOCKED_PAUSE)

    async def charge(self, batch: Batch, faults: Sequence[tuple[QueueRow, str]]) -> None:
        """Faults of rows' own: later again, or given up."""
        if not faults:
            return
        now = self.clock()
        for user_id in dict.fromkeys(row.user_id for row, _ in faults):
            own = [(row, error) for row, error in faults if row.user_id == user_id]
            try:
                async with yielding_transaction(self._db) as tx:
                    # The user is locked before their rows.
                    await _sql.log_audit.run_each(tx, list(_failures(own, now)))
                    await _sql.charge.run_each(tx, list(_charged(batch, own, now)))
            except DatabaseBusy:
                await self.postpone(batch, user_id)


def _charged(batch: Batch, faults: Sequence[tuple[QueueRow, str]], now: datetime) -> Iterator[dict[str, object]]:
    for row, error in faults:
        yield {
            "user_id": row.user_id, "entity_table": row.table, "entity_id": row.id, "version": row.version,
            "token": batch.token, "error": error[:300], "not_before": not_before(row.attempts, now),
        }  # fmt: skip


def _failures(faults: Sequence[tuple[QueueRow, str]], now: datetime) -> Iterator[dict[str, object]]:
    """The audit trail has the first and the last failure of a row."""
    for row, error in faults:
        if row.attempts == 1 or row.attempts >= ATTEMPTS:
            yield audit_line(row.user_id, row.table, row.queued_at, now, error=error[:300])


def audit_line(
    user_id: UUID, table: str, since: datetime, now: datetime, *, rows: int = 1, error: str | None = None
) -> dict[str, object]:
    """Parameters of ``log_audit``: so many rows were embedded, or failed with ``error``."""
    status = "error" if error else "completed"
    return {
        "user_id": user_id, "kind": f"metadata_embedding_{status}", "table_name": table, "since": since,
        "status": status, "error": error, "rows": rows, "now": now,
    }  # fmt: skip


def not_before(attempts: int, now: datetime) -> datetime | str:
    """Doubles with each attempt, with jitter; infinity after the last."""
    return "infinity" if attempts >= ATTEMPTS else now + timedelta(seconds=backoff(attempts))


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … 30, each up to a half less."""
    return min(LONGEST_BACKOFF, 2.0 ** max(failures - 1, 0)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
