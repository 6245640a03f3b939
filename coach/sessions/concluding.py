"""The end of a session in its rows: a summary that is remembered, and commitments that are proposed. Once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import structlog
from msgspec import Struct
from psycopg.types.json import Jsonb

from coach.database.for_each_user import for_each_user, require_all
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.models.base import ChatMessage
from coach.models.offline import offline_reply
from coach.sessions.judge_prompts import Conclusion, Said, read_conclusion, render_conclusion_request
from coach.stages.stages import Kind

_sql = load("sessions")
_log = structlog.get_logger(__name__)

DEPTH = 200
"""Messages of a session that are looked at, from its end."""

PROJECTS = 100

OVERDUE = timedelta(minutes=2)
"""After this time the server that ended a session has summed it up, or has died."""

AT_A_TIME = 200


class EndedSession(Struct, frozen=True):
    """A session that waits for its summary."""

    id: UUID
    kind: Kind
    today: date
    said: Said
    projects: Mapping[str, UUID]
    names: Sequence[str]

    @property
    def question(self) -> ChatMessage:
        return render_conclusion_request(self.kind, self.today, self.names, self.said)

    def read(self, answer: str) -> Conclusion | None:
        return read_conclusion(answer, self.today, self.projects)

    def stand_in(self) -> Conclusion:
        """What the offline model makes of it: where the configured one cannot, nothing may be lost."""
        concluded = self.read("".join(offline_reply([self.question]).pieces))
        return concluded or Conclusion(f"A session of {self.today.isoformat()}.")


class StoredSession(Struct, frozen=True):
    """One row of the query ``read_session_state``."""

    conversation_id: UUID | None
    kind: Kind
    stage: str
    steps: list[dict[str, Any]]
    started_at: datetime
    ended_at: datetime | None
    summary: str | None
    timezone: str

    @property
    def stage_began(self) -> datetime:
        return datetime.fromisoformat(self.steps[-1]["at"]) if self.steps else self.started_at


class _Summarized(Struct, frozen=True):
    """Where a summary is remembered."""

    conversation_id: UUID
    parent_id: UUID | None


class _LeftOver(Struct, frozen=True):
    user_id: UUID
    id: UUID


async def read_session(tx: Transaction, user_id: UUID, session_id: UUID) -> StoredSession | None:
    return await _sql.read_session_state.one(tx, StoredSession, user_id=user_id, id=session_id)


async def read_ended(tx: Transaction, user_id: UUID, session_id: UUID) -> EndedSession | None:
    """None if the session was deleted, still runs, or has its summary."""
    session = await read_session(tx, user_id, session_id)
    if session is None or session.ended_at is None or session.summary is not None:
        return None
    said = await read_messages_since(tx, user_id, session_id, session.started_at)
    open_projects = await _sql.open_projects.rows(tx, tuple, user_id=user_id, limit=PROJECTS)
    projects = {name.strip().casefold(): id_ for id_, name in reversed(open_projects)}
    today = session.ended_at.astimezone(ZoneInfo(session.timezone)).date()
    return EndedSession(session_id, session.kind, today, said, projects, [name for _, name in open_projects])


async def read_messages_since(tx: Transaction, user_id: UUID, session_id: UUID, since: datetime) -> Said:
    """What the conversation shows of it, oldest first."""
    said = await _sql.read_session_messages.rows(tx, tuple, user_id=user_id, id=session_id, since=since, depth=DEPTH)
    return said[::-1]


async def store(tx: Transaction, user_id: UUID, ended: EndedSession, conclusion: Conclusion, now: datetime) -> bool:
    """Summary, memory and proposals together; false where another process was faster."""
    await _sql.lock_conversation_of_session.value(tx, user_id=user_id, id=ended.id)
    message_id = uuid4()
    stored = await _sql.store_summary.one(
        tx, _Summarized, user_id=user_id, id=ended.id, summary=conclusion.summary, message_id=message_id
    )
    if stored is None:
        return False
    await _sql.remember_summary.run(
        tx,
        user_id=user_id,
        id=message_id,
        conversation_id=stored.conversation_id,
        client_id=f"summary_{ended.id.hex}",
        parent_id=stored.parent_id,
        summary=conclusion.summary,
        context=Jsonb({"session": str(ended.id)}),
        now=now,
    )
    proposals = [
        {
            "user_id": user_id,
            "session_id": ended.id,
            "title": each.title,
            "due_date": each.due_date,
            "project_id": each.project_id,
            "position": position,
            "now": now,
        }
        for position, each in enumerate(conclusion.commitments)
    ]
    if proposals:
        await _sql.propose.run_each(tx, proposals)
    await load("memory").make_messages_due.run(tx, user_id=user_id, ids=[message_id], now=now)
    await notify_work(tx)
    return True


async def conclude_overdue_sessions(db: Database, now: datetime) -> None:
    """The job: sessions whose server stopped before it had summed them up.

    :raises NotAllDone: for some it failed; for the others it is done.
    """

    async def conclude(tx: Transaction, session: _LeftOver) -> None:
        ended = await read_ended(tx, session.user_id, session.id)
        if ended is not None:
            await store(tx, session.user_id, ended, ended.stand_in(), now)

    async with db.as_operator() as tx:
        left = await _sql.unfinished_sessions.rows(tx, _LeftOver, before=now - OVERDUE, limit=AT_A_TIME)
    outcome = await for_each_user(db, "concluding sessions", left, conclude)
    if left:
        _log.warning("sessions_concluded_late", sessions=len(left), failed=len(outcome.failed))
    require_all(outcome)
