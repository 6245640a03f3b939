"""What turns leave behind when their process dies, put right for all users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import date, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog
from psycopg import Error as DatabaseError

from coach.chat.ledger import KEY_LIFETIME
from coach.chat.settling import ORPHANED_AFTER, end_orphan
from coach.database.operators import giving_way
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import CoachError, DatabaseBusy

_chat, _sql = load("chat"), load("operations")
_log = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=1)
"""A turn stores its reservation and its checkpoint together; one without the other for so long is no turn any more."""


class Unfinished(CoachError):
    """Some of it could not be put right; the next round tries again."""


Key = TypeVar("Key")
Step = Callable[[Transaction, datetime], Awaitable[object]]


async def settle_abandoned(db: Database, now: datetime) -> None:
    """Close orphaned turns with the text of their last checkpoint, and give back what is reserved for no turn.

    :raises Unfinished: for some users it failed; for the others it is done.
    """
    failed = len(await close_orphans(db, now))
    async with db.as_operator() as tx:
        lost = {row[1]: _refund(*row) async for row in _sql.lost_reservations(tx, before=now - LOST_AFTER)}
    refunded, not_refunded = await _each(db, lost, now)
    async with db.as_operator() as tx:
        miscounted = {row: _recount(*row) async for row in _sql.miscounted_months(tx)}
    recounted, not_recounted = await _each(db, miscounted, now)
    if refunded or recounted:
        _log.warning("abandoned_settled", reservations=refunded, months=recounted)
    failed += len(not_refunded) + len(not_recounted)
    if failed:
        raise Unfinished(f"{failed} abandoned turns or reservations could not be settled.")


async def prune_keys(db: Database, now: datetime) -> None:
    """Forget what no request can repeat any more."""
    async with db.as_operator() as tx:
        gone: int = await _sql.prune_keys(tx, before=now - KEY_LIFETIME)
    _log.info("idempotency_keys_pruned", rows=gone)


async def close_orphans(db: Database, now: datetime, *, but: Container[UUID] = ()) -> set[UUID]:
    """Close orphaned turns, ``but`` for these answers; returns the answers of those that could not be closed."""
    async with db.as_operator() as tx:
        orphans = {row[1]: _end(*row) async for row in _sql.orphaned_turns(tx, dead_since=now - ORPHANED_AFTER)}
    steps = {answer_id: step for answer_id, step in orphans.items() if answer_id not in but}
    closed, failed = await _each(db, steps, now)
    if closed:
        _log.warning("orphans_closed", turns=closed)
    return failed


async def _each(db: Database, steps: Mapping[Key, Step], now: datetime) -> tuple[int, set[Key]]:
    """Every step in a transaction of its own, so that one user's trouble is not everybody's.

    Returns how many were done, and those that failed. One whose person's own transaction is in the way is neither: the
    next look finds it again.
    """
    done, failed = 0, set[Key]()
    for key, step in steps.items():
        try:
            async with giving_way(db) as tx:
                await step(tx, now)
            done += 1
        except DatabaseBusy:
            _log.info("abandoned_waits_for_its_person")
        except DatabaseError as error:
            _log.error("abandoned_not_settled", error=type(error).__name__, code=error.sqlstate)
            failed.add(key)
    return done, failed


def _end(user_id: UUID, answer_id: UUID) -> Step:
    async def step(tx: Transaction, now: datetime) -> None:
        await end_orphan(tx, user_id, answer_id, now)

    return step


def _refund(user_id: UUID, interaction_id: UUID, month: date) -> Step:
    async def step(tx: Transaction, _now: datetime) -> None:
        row = await _chat.lock_quota_month(tx, user_id=user_id, month=month)
        if await _sql.refund(tx, user_id=user_id, id=interaction_id) and row is not None:
            await _chat.return_unit(tx, user_id=user_id, month=month)

    return step


def _recount(user_id: UUID, month: date) -> Step:
    async def step(tx: Transaction, _now: datetime) -> None:
        await _chat.lock_quota_month(tx, user_id=user_id, month=month)
        await _sql.recount_month(tx, user_id=user_id, month=month)

    return step
