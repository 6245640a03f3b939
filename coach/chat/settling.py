"""How a turn's rows are closed: the answer, the quota and the interaction in one transaction, once."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict
from psycopg.types.json import Jsonb

from coach.chat import quota
from coach.chat.opened import Reservation
from coach.database.pool import Database, Transaction
from coach.database.queries import load

_sql = load("chat")

ORPHANED_AFTER = timedelta(seconds=10)
"""A turn without a heartbeat for this long is an orphan."""


LIVING: set[UUID] = set()
"""Answers that this process is making. None of them is an orphan, however late its heartbeat."""


class Ending(Struct, frozen=True, kw_only=True):
    """How a turn ended, for its rows. ``used`` says whether its unit of quota counts."""

    status: str
    text: str
    used: bool
    model: str
    finish_reason: str | None = None
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    first_token_ms: int | None = None
    processing_ms: int | None = None
    context: dict[str, Any] = {}
    details: dict[str, Any] = {}

    @property
    def interaction_status(self) -> str:
        if self.status == "complete":
            return "completed"
        return self.status if self.used else "refunded"


class _Orphan(Struct, frozen=True):
    """An orphan, as its last checkpoint has it."""

    text: str
    context: dict[str, Any] | None
    conversation_id: UUID
    interaction_id: UUID
    month: date
    monthly_limit: int
    model: str | None


async def close(db: Database, held: Reservation, ending: Ending, now: datetime) -> bool:
    """Store the answer, settle the quota, log the interaction: all or nothing.

    Returns false if the turn was an orphan and is closed already.
    """
    (((closed,),),) = await db.once(held.user_id, _sql.end_turn.statement(**_ended(held, ending, now)))
    return bool(closed)


async def close_orphan(db: Database, user_id: UUID, answer_id: UUID, now: datetime) -> bool:
    """Close an orphan with the text of its last checkpoint. False: the turn runs, or has ended."""
    async with db.as_user(user_id) as tx:
        return await end_orphan(tx, user_id, answer_id, now)


async def end_orphan(tx: Transaction, user_id: UUID, answer_id: UUID, now: datetime) -> bool:
    """The same in a transaction of the caller's, which may be the operator's."""
    if answer_id in LIVING:
        return False
    orphan = await _sql.orphan.one(tx, _Orphan, user_id=user_id, message_id=answer_id, dead_since=now - ORPHANED_AFTER)
    if orphan is None:
        return False
    ending = Ending(
        status="interrupted",
        text=orphan.text,
        used=bool(orphan.text),
        model=orphan.model or "",
        error="The server that ran this turn stopped.",
        context=orphan.context or {},
    )
    held = Reservation(
        user_id, orphan.conversation_id, answer_id, orphan.interaction_id, orphan.month, orphan.monthly_limit
    )
    return bool(await _sql.end_turn.value(tx, **_ended(held, ending, now)))


def _ended(held: Reservation, ending: Ending, now: datetime) -> dict[str, Any]:
    told = asdict(held) | asdict(ending)
    return told | {
        "units": int(told.pop("used")),
        "interaction_status": ending.interaction_status,
        "context": Jsonb(ending.context),
        "details": Jsonb(ending.details),
        "thresholds": list(quota.THRESHOLDS),
        "warnings": list(quota.THRESHOLDS.values()),
        "now": now,
    }
