"""Coaching sessions as their owner reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import NotFound
from coach.http.lists import cursor_of, position_of
from coach.sessions.schemas import Commitment, Session, SessionDetail, SessionPage, Step
from coach.stages.stages import STAGES, names_of

_sql = load("sessions")


async def listed(  # noqa: PLR0917 - the list's parameters
    db: Database,
    user_id: UUID,
    conversation: str | None,
    is_active: bool | None,
    limit: int,
    cursor: str | None,
) -> SessionPage:
    """One page, newest first."""
    before, before_id = position_of(cursor, tuple[datetime, UUID]) if cursor else (None, None)
    async with db.as_user(user_id) as tx:
        found = _sql.sessions(
            tx,
            user_id=user_id,
            conversation=conversation,
            is_active=is_active,
            before=before,
            before_id=before_id,
            limit=limit + 1,
        )
        rows = [row async for row in found]
    items = [Session(*_shown(row)) for row in rows[:limit]]
    return SessionPage(items, cursor_of((items[-1].started_at, items[-1].id)) if len(rows) > limit else None)


async def one(db: Database, user_id: UUID, id_: str) -> SessionDetail:
    """:raises NotFound: absent, or another user's."""
    session_id = identified(id_, "session")
    async with db.as_user(user_id, is_snapshot=True) as tx:
        return await read(tx, user_id, session_id)


async def read(tx: Transaction, user_id: UUID, session_id: UUID) -> SessionDetail:
    """:raises NotFound: as above."""
    row = await _sql.one_session(tx, user_id=user_id, id=session_id)
    if row is None:
        raise NotFound("There is no such session.")
    commitments = [
        Commitment(*found) async for found in _sql.commitments_of(tx, user_id=user_id, session_id=session_id)
    ]
    steps = [Step(each["stage"], each["cause"], datetime.fromisoformat(each["at"])) for each in row[8]]
    return SessionDetail(*_shown(row), steps=steps, commitments=commitments)


def identified(id_: str, what: str) -> UUID:
    """:raises NotFound: no id at all."""
    try:
        return UUID(id_)
    except ValueError:
        raise NotFound(f"There is no such {what}.") from None


def _shown(row: Any) -> tuple[Any, ...]:
    id_, conversation, kind, stage, summary, started_at, ended_at, proposed, _ = row
    status = "active" if ended_at is None else "ending" if summary is None else "ended"
    known = stage or STAGES[kind][0].name
    return id_, conversation, kind, known, names_of(kind), status, summary or None, started_at, ended_at, proposed
