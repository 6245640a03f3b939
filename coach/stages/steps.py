"""The steps of a session: from a command, or from the model's judgement, to rows. The turn's own module calls it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec.structs import replace
from psycopg.types.json import Jsonb

from coach.database.pool import Transaction
from coach.database.queries import load
from coach.errors import Conflict
from coach.stages.stages import STAGES, Cause, Kind, SessionCommand, SessionState, stage_after

_sql = load("sessions")


async def apply(  # noqa: PLR0917 - one argument a part
    tx: Transaction, user_id: UUID, conversation_id: UUID, command: SessionCommand, key: str | None, now: datetime
) -> SessionState:
    """Do as a command says, under the conversation's lock. ``key`` is the message it came with: each acts once.

    :raises Conflict: no session runs here, or one of another kind.
    """
    if key is not None and (done := await _done_before(tx, user_id, conversation_id, key)):
        return done
    active = await _sql.active_session.one(tx, SessionState, user_id=user_id, conversation_id=conversation_id)
    if command.type == "start" and command.kind is not None:
        return await _start(tx, user_id, conversation_id, command.kind, active, key, now)
    if active is None:
        raise Conflict("No coaching session is running in this conversation.")
    next_stage = stage_after(active.kind, active.stage) if command.type == "advance" else None
    cause: Cause = "ended" if command.type == "end" else "advanced"
    await step(tx, user_id, active, next_stage, cause, key, now)
    return replace(active, stage=next_stage or active.stage, is_over=next_stage is None, has_changed=True)


async def _done_before(tx: Transaction, user_id: UUID, conversation_id: UUID, key: str) -> SessionState | None:
    step = Jsonb([{"message": key}])
    return await _sql.read_step_of_message.one(
        tx, SessionState, user_id=user_id, conversation_id=conversation_id, step=step
    )


async def _start(  # noqa: PLR0917 - a row's worth
    tx: Transaction,
    user_id: UUID,
    conversation_id: UUID,
    kind: Kind,
    active: SessionState | None,
    key: str | None,
    now: datetime,
) -> SessionState:
    """Start a session, or continue the running one: a client that lost the connection may send start again."""
    if active is not None:
        if active.kind != kind:
            raise Conflict(f"A session of kind {active.kind} is running in this conversation; end it first.")
        return active
    id_, stage = uuid4(), STAGES[kind][0].name
    taken = Jsonb([_step(stage, "started", key, now)])
    await _sql.start_session.run(
        tx, user_id=user_id, id=id_, conversation_id=conversation_id, kind=kind, stage=stage, step=taken, now=now
    )
    return SessionState(id_, kind, stage, has_changed=True)


async def step(  # noqa: PLR0917 - as above
    tx: Transaction,
    user_id: UUID,
    standing: SessionState,
    next_stage: str | None,
    cause: Cause,
    key: str | None,
    now: datetime,
) -> bool:
    """Move to the next stage or to the end. False if the session has left the stage already."""
    where = {"user_id": user_id, "id": standing.session_id, "stage_before": standing.stage}
    taken = Jsonb([_step(next_stage or "end", cause, key, now)])
    if next_stage is None:
        return await _sql.end_session.value(tx, **where, step=taken, now=now) is not None
    return await _sql.advance_session.value(tx, **where, stage=next_stage, step=taken) is not None


def _step(stage: str, cause: Cause, key: str | None, now: datetime) -> dict[str, Any]:
    return {"stage": stage, "cause": cause, "at": now.isoformat(), "message": key}
