"""The monthly quota: reserve a unit, then use it or give it back, in the month in which it was reserved."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

from coach.chat.events import QuotaTold
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.errors import QuotaExhausted
from coach.metrics import QUOTA_REFUSALS

_sql = load("chat")

THRESHOLDS = {80: "quota_warning_80", 95: "quota_warning_95", 100: "quota_limit_reached"}
"""Percent of the limit, and what the audit trail calls it. Of 250: 200, 238 and 250."""


def month_of(now: datetime) -> date:
    """Months are UTC calendar months."""
    return now.astimezone(UTC).date().replace(day=1)


def resets_at(month: date) -> datetime:
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def warning(used: int, limit: int) -> int | None:
    """The highest threshold that ``used`` of ``limit`` has reached."""
    return max((percent for percent in THRESHOLDS if used * 100 >= percent * limit), default=None)


def told(used: int, limit: int, month: date) -> QuotaTold:
    return QuotaTold(limit, used, max(limit - used, 0), resets_at(month), warning(used, limit))


async def reserve(tx: Transaction, user_id: UUID, limit: int, now: datetime) -> QuotaTold:
    """Take one unit of this month.

    :raises QuotaExhausted: none is left.
    """
    month = month_of(now)
    row = await _sql.reserve_quota(tx, user_id=user_id, month=month, monthly_limit=limit)
    if row is None:
        taken = await _taken(tx, user_id, month)
        QUOTA_REFUSALS.inc()
        raise QuotaExhausted(limit=limit, used=taken, resets_at=resets_at(month))
    return told(row[0], limit, month)


async def current(tx: Transaction, user_id: UUID, limit: int, now: datetime) -> QuotaTold:
    """The month as it stands; running turns count as used."""
    month = month_of(now)
    return told(await _taken(tx, user_id, month), limit, month)


async def settle(
    tx: Transaction, user_id: UUID, month: date, *, limit: int, row: tuple[int, int], used: bool, now: datetime
) -> None:
    """End one reservation whose month the caller has locked; ``row`` is what the lock read (used, warned).

    Each threshold that is passed for the first time this month goes to the audit trail, once.
    """
    before, warned = row
    after = before + used
    passed = [percent for percent in THRESHOLDS if percent > warned and after * 100 >= percent * limit] if used else []
    top = max([warned, *passed])
    await _sql.settle_quota(tx, user_id=user_id, month=month, units=int(used), warned=top)
    for percent in passed:
        await _sql.log_quota_warning(tx, user_id=user_id, kind=THRESHOLDS[percent], now=now)


async def _taken(tx: Transaction, user_id: UUID, month: date) -> int:
    row = await _sql.quota_month(tx, user_id=user_id, month=month)
    return sum(row) if row else 0
