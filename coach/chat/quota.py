"""The monthly quota: reserve a unit, then use it or give it back, in the month in which it was reserved."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from coach.chat.events import Quota
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.database.round_trips import Statement
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
    """The highest threshold that ``used`` has reached, in percent of ``limit``."""
    return max((percent for percent in THRESHOLDS if used * 100 >= percent * limit), default=None)


def told(used: int, limit: int, month: date) -> Quota:
    return Quota(limit, used, max(limit - used, 0), resets_at(month), warning(used, limit))


def reservation(row: type[Any], user_id: UUID, limit: int, now: datetime) -> Statement:
    """For one unit of this month, reserved: a row with what is taken then, or none where none was left."""
    return _sql.reserve_quota.statement(row, user_id=user_id, month=month_of(now), monthly_limit=limit)


async def exhausted(tx: Transaction, user_id: UUID, limit: int, now: datetime) -> QuotaExhausted:
    """The refusal, with this month's figures."""
    month = month_of(now)
    QUOTA_REFUSALS.inc()
    ((_, taken),) = await (await month_statement(user_id, month, limit).send(tx)).fetchall()
    return QuotaExhausted(limit=limit, used=taken, resets_at=resets_at(month))


def month_statement(user_id: UUID, month: date, default_limit: int) -> Statement:
    """For the month as it stands: the user's limit, and the units taken; running turns count."""
    return _sql.quota_month.statement(user_id=user_id, month=month, default_limit=default_limit)
