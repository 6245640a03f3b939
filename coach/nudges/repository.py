"""Nudges: made for everybody by a periodic job, told to who is there, and read by who was not."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from psycopg import Error as DatabaseError

from coach.database.operators import giving_way
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import CoachError, DatabaseBusy, NotFound
from coach.http.lists import cursor_of, position_of
from coach.realtime.pushes import announce, store_pushes

_sql = load("nudges")
_log = structlog.get_logger(__name__)

A_DAY = 2
"""Nudges a local day. More would be noise, and noise is switched off."""

PEOPLE = 500
"""At a time, each page in a transaction of its own."""


class Nudge(Struct):
    """``details`` names the rows it is about: ``commitment_id`` and ``task_id``, ``last_day``, or ``pillar_id``."""

    id: UUID
    kind: str
    body: str
    details: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None


class NudgePage(Struct):
    """Newest first."""

    items: list[Nudge]
    next_cursor: str | None = None


class NudgePush(Struct, tag_field="type", tag="nudge"):
    """What open sockets hear."""

    nudge: Nudge


class Unfinished(CoachError):
    """Some people could not be looked at; the next round tries again."""


async def make_nudges(db: Database, now: datetime) -> None:
    """The chore. A page is all or nothing: nudges, and what is pushed of them.

    :raises Unfinished: for some pages it failed; for the others it is done.
    """
    after: UUID | None = None
    made = failed = 0
    while True:
        async with db.as_operator() as tx:
            people = [row[0] async for row in _sql.people_to_nudge(tx, after=after, limit=PEOPLE)]
        if not people:
            break
        after = people[-1]
        try:
            made += await _nudge(db, people, now)
        except DatabaseBusy:
            made += await _nudge_singly(db, people, now)
        except DatabaseError as error:
            _log.error("people_not_nudged", error=type(error).__name__, code=error.sqlstate)
            failed += 1
    if made:
        _log.info("nudges_made", nudges=made)
    if failed:
        raise Unfinished(f"{failed} pages of people could not be looked at.")


async def _nudge_singly(db: Database, people: list[UUID], now: datetime) -> int:
    """Somebody's own transaction was in the way: theirs wait for the next round, and nobody else's."""
    made = 0
    for person in people:
        with suppress(DatabaseBusy):
            made += await _nudge(db, [person], now)
    return made


async def _nudge(db: Database, people: list[UUID], now: datetime) -> int:
    async with giving_way(db) as tx:
        rows = [row async for row in _sql.make_nudges(tx, user_ids=people, now=now, per_day=A_DAY)]
        for user_id, *values in rows:
            await store_pushes(tx, user_id, [msgspec.to_builtins(NudgePush(Nudge(*values)))])
    if rows:
        async with db.as_operator() as tx:
            await announce(tx, {row[0] for row in rows})
    return len(rows)


async def listed(db: Database, user_id: UUID, limit: int, cursor: str | None, now: datetime) -> NudgePage:
    """One page of what is neither dismissed nor past."""
    before, before_id = position_of(cursor, tuple[datetime, UUID]) if cursor else (None, None)
    async with db.as_user(user_id) as tx:
        found = _sql.nudges(tx, user_id=user_id, now=now, before=before, before_id=before_id, limit=limit + 1)
        items = [Nudge(*row) async for row in found]
    last = items[limit - 1] if len(items) > limit else None
    return NudgePage(items[:limit], cursor_of((last.created_at, last.id)) if last else None)


async def dismiss(db: Database, user_id: UUID, id_: str, now: datetime) -> None:
    """:raises NotFound: absent, or another user's."""
    try:
        nudge_id = UUID(id_)
    except ValueError:
        raise NotFound("There is no such nudge.") from None
    async with db.as_user(user_id) as tx:
        if await _sql.dismiss(tx, user_id=user_id, id=nudge_id, now=now) is None:
            raise NotFound("There is no such nudge.")
