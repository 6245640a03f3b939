"""Nudges: a job makes them for all users, pushes them to open sockets, and stores them for later."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from coach.database.for_each_user import Outcome, for_each_user, require_all
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import NotFound
from coach.http.lists import newest_first, page
from coach.realtime.pushes import notify_pushes, store_pushes

_sql = load("nudges")
_log = structlog.get_logger(__name__)

NUDGES_PER_DAY = 2
"""Nudges a local day. Users switch off more than that."""

USERS = 500
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


class MadeNudge(Nudge):
    """A row that was made now."""

    user_id: UUID

    @property
    def push(self) -> dict[str, Any]:
        nudge = msgspec.convert(self, Nudge, from_attributes=True)
        return msgspec.to_builtins(NudgePush(nudge))  # type: ignore[no-any-return]


Page = tuple[UUID, ...]


async def make_nudges(db: Database, now: datetime) -> None:
    """The job. A page of users is all or nothing: nudges, and what is pushed of them.

    :raises NotAllDone: for some users it failed; for the others it is done.
    """
    outcomes: list[Outcome[Page, int]] = []
    async for users in _pages(db):
        together = await _nudge_each(db, [users], now)
        # A transaction of a user holds the lock, or a row of theirs breaks it. The others have their nudges.
        outcomes += [together if together.done else await _nudge_each(db, [(user_id,) for user_id in users], now)]
    made = sum(count for outcome in outcomes for count in outcome.done.values())
    if made:
        _log.info("nudges_made", nudges=made)
    require_all(*outcomes)


async def _pages(db: Database) -> AsyncGenerator[Page, None]:
    after: UUID | None = None
    while True:
        async with db.as_operator() as tx:
            page = tuple(await _sql.users_to_nudge.values(tx, after=after, limit=USERS))
        if not page:
            return
        yield page
        after = page[-1]


async def _nudge_each(db: Database, pages: Sequence[Page], now: datetime) -> Outcome[Page, int]:
    hearing: set[UUID] = set()

    async def nudge(tx: Transaction, page: Page) -> int:
        made = await _sql.make_nudges.rows(tx, MadeNudge, user_ids=list(page), now=now, per_day=NUDGES_PER_DAY)
        for each in made:
            await store_pushes(tx, each.user_id, [each.push])
        hearing.update(each.user_id for each in made)
        return len(made)

    outcome = await for_each_user(db, "nudging", pages, nudge)
    if hearing:
        async with db.as_operator() as tx:
            await notify_pushes(tx, hearing)
    return outcome


async def listed(db: Database, user_id: UUID, limit: int, cursor: str | None, now: datetime) -> NudgePage:
    """One page of what is neither dismissed nor past."""
    async with db.as_user(user_id) as tx:
        rows = await _sql.nudges.rows(tx, Nudge, user_id=user_id, now=now, **newest_first(limit, cursor))
    return NudgePage(*page(rows, limit, lambda nudge: (nudge.created_at, nudge.id)))


async def dismiss(db: Database, user_id: UUID, id_: str, now: datetime) -> None:
    """:raises NotFound: absent, or another user's."""
    try:
        nudge_id = UUID(id_)
    except ValueError:
        raise NotFound("There is no such nudge.") from None
    async with db.as_user(user_id) as tx:
        if await _sql.dismiss.value(tx, user_id=user_id, id=nudge_id, now=now) is None:
            raise NotFound("There is no such nudge.")
