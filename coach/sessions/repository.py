"""Coaching sessions as their user reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import NotFound
from coach.http.lists import newest_first, page
from coach.sessions.schemas import Commitment, Session, SessionDetail, SessionPage, Step
from coach.stages.stages import STAGES, Kind, names_of

_sql = load("sessions")


class _Row(Struct, frozen=True):
    """One row of the queries ``sessions`` and ``one_session``."""

    id: UUID
    conversation_id: str | None
    kind: Kind
    stage: str
    summary: str | None
    started_at: datetime
    ended_at: datetime | None
    proposed: int
    steps: list[dict[str, Any]]

    def shown(self) -> dict[str, Any]:
        """The fields of a ``Session``."""
        row = msgspec.structs.asdict(self)
        del row["steps"]
        status = "active" if self.ended_at is None else "ending" if self.summary is None else "ended"
        stage = self.stage or STAGES[self.kind][0].name
        return row | {"stage": stage, "stages": names_of(self.kind), "status": status, "summary": self.summary or None}


async def listed(  # noqa: PLR0917 - the list's parameters
    db: Database,
    user_id: UUID,
    conversation: str | None,
    is_active: bool | None,
    limit: int,
    cursor: str | None,
) -> SessionPage:
    """One page, newest first."""
    async with db.as_user(user_id) as tx:
        rows = await _sql.sessions.rows(
            tx,
            _Row,
            user_id=user_id,
            conversation=conversation,
            is_active=is_active,
            **newest_first(limit, cursor),
        )
    shown, next_cursor = page(rows, limit, lambda row: (row.started_at, row.id))
    return SessionPage([Session(**row.shown()) for row in shown], next_cursor)


async def one(db: Database, user_id: UUID, id_: str) -> SessionDetail:
    """:raises NotFound: absent, or another user's."""
    session_id = session_id_of(id_, "session")
    async with db.as_user(user_id, is_snapshot=True) as tx:
        return await read(tx, user_id, session_id)


async def read(tx: Transaction, user_id: UUID, session_id: UUID) -> SessionDetail:
    """:raises NotFound: as above."""
    row = await _sql.one_session.one(tx, _Row, user_id=user_id, id=session_id)
    if row is None:
        raise NotFound("There is no such session.")
    commitments = await _sql.commitments_of.rows(tx, Commitment, user_id=user_id, session_id=session_id)
    return SessionDetail(**row.shown(), steps=msgspec.convert(row.steps, list[Step]), commitments=commitments)


def session_id_of(id_: str, what: str) -> UUID:
    """:raises NotFound: no id at all."""
    try:
        return UUID(id_)
    except ValueError:
        raise NotFound(f"There is no such {what}.") from None
