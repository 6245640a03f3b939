"""Judgements that a stopped server did not finish; the worker repeats them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
import structlog

from coach.database.operators import yielding_transaction
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import DatabaseBusy, ModelUnavailable
from coach.models.base import ChatModel
from coach.realtime.pushes import notify_pushes, store_pushes
from coach.sessions.judge import Judge
from coach.sessions.repository import read
from coach.sessions.schemas import SessionPush
from coach.stages.stages import JUDGED, SessionState
from coach.values.clock import utc_now

_sql = load("sessions")
_log = structlog.get_logger(__name__)

OVERDUE = timedelta(minutes=2)
"""After this time the server that finished a turn has judged its stage, or has died."""

AT_A_TIME = 40
"""Sessions a round: at 45 s each, four at once, it takes under eight minutes even where the model never answers."""


async def judge_overdue_sessions(db: Database, now: datetime, *, model: ChatModel) -> None:
    """The job."""
    async with db.as_operator() as tx:
        left = await _sql.unjudged_sessions.rows(tx, tuple, kinds=list(JUDGED), before=now - OVERDUE, limit=AT_A_TIME)
    if not left:
        return
    judge = Judge(partial(_held, db), model, utc_now, partial(_push_session, db))
    outcomes = await asyncio.gather(
        *(judge.judge(user_id, SessionState(*standing)) for user_id, *standing in left), return_exceptions=True
    )
    broken = [each for each in outcomes if isinstance(each, BaseException)]
    _log.warning("sessions_judged_late", sessions=len(left), failed=len(broken))
    for error in broken:
        # Those stages wait for their next turns, or for the next round.
        if not isinstance(error, ModelUnavailable | DatabaseBusy):
            raise error


@asynccontextmanager
async def _held(db: Database, user_id: UUID) -> AsyncIterator[Transaction]:
    """If a transaction of the user holds the lock, the model is not called."""
    async with yielding_transaction(db) as tx:
        await _sql.hold.value(tx, user_id=user_id)
        yield tx


async def _push_session(db: Database, user_id: UUID, session_id: UUID) -> None:
    async with _held(db, user_id) as tx:
        detail = await read(tx, user_id, session_id)
        await store_pushes(tx, user_id, [msgspec.to_builtins(SessionPush(detail))])
    async with db.as_operator() as tx:
        await notify_pushes(tx, [user_id])
