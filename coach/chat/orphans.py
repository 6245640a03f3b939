"""Repairs what orphaned turns leave behind, for all users."""

from __future__ import annotations

from collections.abc import Container
from datetime import date, datetime, timedelta
from uuid import UUID

import structlog
from msgspec import Struct

from coach.chat.repeats import KEY_LIFETIME
from coach.chat.settling import ORPHANED_AFTER, end_orphan
from coach.database.for_each_user import Outcome, for_each_user, require_all
from coach.database.pool import Database, Transaction
from coach.database.queries import load

_chat, _sql = load("chat"), load("operations")
_log = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=1)
"""A turn stores its reservation and its checkpoint together. A reservation without a checkpoint for this long is
lost."""


class LostReservation(Struct, frozen=True):
    """A reservation for which no turn runs."""

    user_id: UUID
    id: UUID
    quota_month: date


class Month(Struct, frozen=True):
    """A user's quota month."""

    user_id: UUID
    month: date


class OrphanedTurn(Struct, frozen=True):
    user_id: UUID
    message_id: UUID


async def settle_orphans(db: Database, now: datetime) -> None:
    """Close orphaned turns with the text of their last checkpoint, and refund reservations that belong to no turn.

    :raises NotAllDone: for some users it failed; for the others it is done.
    """
    closed = await close_orphans(db, now)
    async with db.as_operator() as tx:
        lost = await _sql.list_lost_reservations.rows(tx, LostReservation, before=now - LOST_AFTER)
    refunded = await for_each_user(db, "refunding lost reservations", lost, _refund)
    async with db.as_operator() as tx:
        miscounted = await _sql.miscounted_months.rows(tx, Month)
    recounted = await for_each_user(db, "recounting quota months", miscounted, _recount)
    if refunded.done or recounted.done:
        _log.warning("lost_reservations_refunded", reservations=len(refunded.done), months=len(recounted.done))
    require_all(closed, refunded, recounted)


async def prune_keys(db: Database, now: datetime) -> None:
    """Delete idempotency keys that no request can repeat any more."""
    async with db.as_operator() as tx:
        gone = await _sql.prune_keys.run(tx, before=now - KEY_LIFETIME)
    _log.info("idempotency_keys_pruned", rows=gone)


async def close_orphans(
    db: Database, now: datetime, *, but: Container[OrphanedTurn] = ()
) -> Outcome[OrphanedTurn, object]:
    """Close orphaned turns, ``but`` for these."""

    async def close(tx: Transaction, turn: OrphanedTurn) -> object:
        return await end_orphan(tx, turn.user_id, turn.message_id, now)

    async with db.as_operator() as tx:
        found = await _sql.orphaned_turns.rows(tx, OrphanedTurn, dead_since=now - ORPHANED_AFTER)
    outcome = await for_each_user(db, "closing orphaned turns", [turn for turn in found if turn not in but], close)
    if outcome.done:
        _log.warning("orphans_closed", turns=len(outcome.done))
    return outcome


async def _refund(tx: Transaction, lost: LostReservation) -> None:
    month = {"user_id": lost.user_id, "month": lost.quota_month}
    is_counted = await _chat.lock_quota_month.value(tx, **month) is not None
    if await _sql.refund.run(tx, user_id=lost.user_id, id=lost.id) and is_counted:
        await _chat.refund_unit.run(tx, **month)


async def _recount(tx: Transaction, month: Month) -> None:
    await _chat.lock_quota_month.value(tx, user_id=month.user_id, month=month.month)
    await _sql.recount_month.run(tx, user_id=month.user_id, month=month.month)
