"""The turns of all users in the database: how one opens, what a month has left, what shall stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

from coach.chat import quota
from coach.chat.events import Quota
from coach.chat.opened import FirstLook
from coach.chat.opening import TURNS_AT_ONCE, Opening
from coach.chat.schemas import ChatRequest
from coach.database.pool import Database
from coach.database.queries import load

_sql = load("chat")


class Ledger:
    """``monthly_limit`` holds for users without a limit of their own, ``at_once`` for the running turns of each."""

    def __init__(self, db: Database, monthly_limit: int, at_once: int = TURNS_AT_ONCE) -> None:
        self._db, self._monthly_limit, self._at_once = db, monthly_limit, at_once

    @asynccontextmanager
    async def opening(self, user_id: UUID, request: ChatRequest, now: datetime) -> AsyncIterator[Opening]:
        """The transaction in which a turn may begin. Its beginning and its first look are one round trip."""
        look = _sql.opening.statement(
            FirstLook,
            user_id=user_id,
            month=quota.month_of(now),
            default_limit=self._monthly_limit,
            client_id=request.conversation_id,
        )
        async with self._db.asking(user_id, look) as (tx, (seen,)):
            yield Opening(tx, user_id, request, seen, now, self._at_once)

    async def quota(self, user_id: UUID, now: datetime) -> Quota:
        """This month's figures for a user."""
        month = quota.month_of(now)
        (((limit, taken),),) = await self._db.once(user_id, quota.month_statement(user_id, month, self._monthly_limit))
        return quota.told(taken, limit, month)

    async def request_stop(self, user_id: UUID, conversation_key: str) -> list[UUID]:
        """Request a stop from the process that runs a turn of this conversation. Return the ids of the answers."""
        (found,) = await self._db.once(
            user_id, _sql.request_stop.statement(user_id=user_id, client_id=conversation_key)
        )
        return [answer_id for (answer_id,) in found]
