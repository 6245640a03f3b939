"""Judgements and summaries of sessions, made by the model beside the turns. No turn waits for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from coach.chat.opened import Opened
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import NotFound
from coach.models.base import ChatModel
from coach.sessions.judge import Judge
from coach.sessions.repository import read
from coach.sessions.schemas import SessionDetail, SessionPush
from coach.stages.stages import SessionCommand
from coach.stages.steps import apply
from coach.values.background import BackgroundTasks

_sql = load("conversations")

WAITING = 500
"""More judgements than these at a time are left to the job. Endings never are."""

Push = Callable[[UUID, dict[str, Any]], None]


class Sessions:
    """Has the model asked beside the turns. All state is in rows: what a stopped process leaves undone is done by the
    jobs ``judge_sessions`` and ``conclude_sessions``, or after the next turn."""

    def __init__(self, db: Database, model: ChatModel, clock: Callable[[], datetime], push: Push) -> None:
        self._db, self._clock, self._push = db, clock, push
        self._judge = Judge(db.as_user, model, clock, self._show)
        self._tasks = BackgroundTasks("session_follow_up_failed")

    async def apply(self, user_id: UUID, conversation_key: str, command: SessionCommand) -> SessionDetail:
        """Do as a command says that came without a message.

        :raises NotFound: there is no such conversation. :raises Conflict: nothing to advance or end, or another kind.
        """
        async with self._db.as_user(user_id) as tx:
            conversation = await _sql.conversation_to_change.value(tx, user_id=user_id, client_id=conversation_key)
            if conversation is None:
                raise NotFound("There is no such conversation; a session begins with a message.")
            standing = await apply(tx, user_id, conversation, command, None, self._clock())
            detail = await read(tx, user_id, standing.session_id)
        self._push_session(user_id, detail)
        if standing.is_over:
            self._tasks.start(self._judge.conclude(user_id, standing.session_id))
        return detail

    def session_moved(self, turn: Opened) -> None:
        """A turn's command has changed its session. Returns at once."""
        if turn.session is not None:
            self._tasks.start(self._show(turn.user_id, turn.session.session_id))

    def consider(self, turn: Opened) -> None:
        """A turn is finished. Returns at once."""
        standing = turn.session
        if standing is None:
            return
        if standing.is_over:
            self._tasks.start(self._judge.conclude(turn.user_id, standing.session_id))
        elif len(self._tasks) < WAITING:
            self._tasks.start(self._judge.judge(turn.user_id, standing))

    async def aclose(self) -> None:
        """No turn waits for a judgement."""
        await self._tasks.aclose()

    async def _show(self, user_id: UUID, session_id: UUID) -> None:
        async with self._db.as_user(user_id, is_snapshot=True) as tx:
            detail = await read(tx, user_id, session_id)
        self._push_session(user_id, detail)

    def _push_session(self, user_id: UUID, detail: SessionDetail) -> None:
        self._push(user_id, msgspec.to_builtins(SessionPush(detail)))
