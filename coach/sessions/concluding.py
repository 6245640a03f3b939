"""The end of a session in its rows: a summary that is remembered, and commitments that are proposed. Once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import structlog
from msgspec import Struct
from psycopg import Error as DatabaseError
from psycopg.types.json import Jsonb

from coach.database.operators import giving_way
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.errors import CoachError, DatabaseBusy
from coach.models.base import ChatMessage
from coach.models.offline import offline_reply
from coach.sessions.judging import Conclusion, Said, ask_what_came, read_conclusion
from coach.stages.stages import Kind

_sql = load("sessions")
_log = structlog.get_logger(__name__)

DEPTH = 200
"""Messages of a session that are looked at, from its end."""

PROJECTS = 100

OVERDUE = timedelta(minutes=2)
"""By then the server that ended a session has summed it up, or is gone."""

AT_A_TIME = 200


class Ended(Struct, frozen=True):
    """A session that waits for its summary."""

    id: UUID
    kind: Kind
    today: date
    said: Said
    projects: Mapping[str, UUID]
    names: Sequence[str]

    @property
    def question(self) -> ChatMessage:
        return ask_what_came(self.kind, self.today, self.names, self.said)

    def read(self, answer: str) -> Conclusion | None:
        return read_conclusion(answer, self.today, self.projects)

    def stand_in(self) -> Conclusion:
        """What the offline model makes of it: where the configured one cannot, nothing may be lost."""
        concluded = self.read("".join(offline_reply([self.question]).pieces))
        return concluded or Conclusion(f"A session of {self.today.isoformat()}.")


class Unfinished(CoachError):
    """Some sessions could not be summed up; the next round tries again."""


async def read_ended(tx: Transaction, user_id: UUID, session_id: UUID) -> Ended | None:
    """None where it is gone, still runs, or has its summary."""
    row = await _sql.standing_of(tx, user_id=user_id, id=session_id)
    if row is None or row[5] is None or row[6] is not None:
        return None
    _, kind, _, _, started_at, ended_at, _, zone = row
    said = await said_since(tx, user_id, session_id, started_at)
    rows = [found async for found in _sql.open_projects(tx, user_id=user_id, limit=PROJECTS)]
    projects = {name.strip().casefold(): id_ for id_, name in reversed(rows)}
    return Ended(
        session_id, kind, ended_at.astimezone(ZoneInfo(zone)).date(), said, projects, [name for _, name in rows]
    )


async def said_since(tx: Transaction, user_id: UUID, session_id: UUID, since: datetime) -> Said:
    """What the conversation shows of it, oldest first."""
    rows = _sql.session_said(tx, user_id=user_id, id=session_id, since=since, depth=DEPTH)
    return [(role, text) async for _, role, text in rows][::-1]


async def store(tx: Transaction, user_id: UUID, ended: Ended, conclusion: Conclusion, now: datetime) -> bool:
    """Summary, memory and proposals together; false where another process was faster."""
    await _sql.hold_conversation_of_session(tx, user_id=user_id, id=ended.id)
    message_id = uuid4()
    row = await _sql.store_summary(tx, user_id=user_id, id=ended.id, summary=conclusion.summary, message_id=message_id)
    if row is None:
        return False
    await _sql.remember_summary(
        tx,
        user_id=user_id,
        id=message_id,
        conversation_id=row[0],
        client_id=f"summary_{ended.id.hex}",
        parent_id=row[1],
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
        await _sql.propose(tx, proposals)
    await _sql.hasten_summary(tx, user_id=user_id, id=message_id, now=now)
    await notify_work(tx)
    return True


async def conclude_left_over(db: Database, now: datetime) -> None:
    """The chore: sessions whose server stopped before it had summed them up.

    :raises Unfinished: for some it failed; for the others it is done.
    """
    async with db.as_operator() as tx:
        found = _sql.unfinished_sessions(tx, before=now - OVERDUE, limit=AT_A_TIME)
        left = [(user_id, session_id) async for user_id, session_id in found]
    failed = 0
    for user_id, session_id in left:
        try:
            async with giving_way(db) as tx:
                ended = await read_ended(tx, user_id, session_id)
                if ended is not None:
                    await store(tx, user_id, ended, ended.stand_in(), now)
        except DatabaseBusy:
            _log.info("session_waits_for_its_person")  # the next round finds it again
        except DatabaseError as error:
            _log.error("session_not_concluded", error=type(error).__name__, code=error.sqlstate)
            failed += 1
    if left:
        _log.warning("sessions_concluded_late", sessions=len(left), failed=failed)
    if failed:
        raise Unfinished(f"{failed} of {len(left)} sessions could not be summed up.")
