"""Asks the model to judge sessions, and takes the steps. If the answer is not readable, the stage stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import UUID

import structlog

from coach.database.pool import Transaction
from coach.database.queries import load
from coach.errors import ModelUnavailable
from coach.models.base import ChatMessage, ChatModel, ModelOptions
from coach.models.whole import ask_model_once
from coach.sessions import concluding
from coach.sessions.judge_prompts import is_done, render_judgement_request
from coach.stages.stages import SessionState, stage_after, stage_of
from coach.stages.steps import step

_sql = load("sessions")
_log = structlog.get_logger(__name__)

PATIENCE = 45.0
AT_ONCE = 4

Transactions = Callable[[UUID], AbstractAsyncContextManager[Transaction]]
"""A transaction in which this user's rows can be read and written."""

Shown = Callable[[UUID, UUID], Awaitable[None]]
"""Called with the user and the session that has changed."""


class Judge:
    """Of no month's quota. Holds no connection while the model thinks; of two at once the second changes nothing."""

    def __init__(self, begin: Transactions, model: ChatModel, clock: Callable[[], datetime], shown: Shown) -> None:
        self._begin, self._model, self._clock, self._shown = begin, model, clock, shown
        self._free = asyncio.Semaphore(AT_ONCE)

    async def judge(self, user_id: UUID, standing: SessionState) -> None:
        """One step on where the model says so.

        That it was asked is noted once it has answered or failed to: a judgement that a stopped process takes along is
        made up for by the job ``judge_sessions``.

        :raises ModelUnavailable: the stage waits for the next turn then.
        """
        stage = stage_of(standing.kind, standing.stage)
        if stage.done_when is None:
            return
        read_at = self._clock()
        async with self._begin(user_id) as tx:
            session = await concluding.read_session(tx, user_id, standing.session_id)
            if session is None or session.ended_at is not None or session.stage != standing.stage:
                return
            said = await concluding.read_messages_since(tx, user_id, standing.session_id, session.stage_began)
        try:
            is_over = is_done(await self._ask(render_judgement_request(stage, said), 200))
        except ModelUnavailable:
            await self._note(user_id, standing, read_at)
            raise
        if is_over:
            await self._step(user_id, standing)
        else:
            await self._note(user_id, standing, read_at)

    async def conclude(self, user_id: UUID, session_id: UUID) -> None:
        """Sum up a session that has ended; where the model cannot, the stand-in does."""
        async with self._begin(user_id) as tx:
            ended = await concluding.read_ended(tx, user_id, session_id)
        if ended is None:
            return
        try:
            conclusion = ended.read(await self._ask(ended.question, 1_500))
        except ModelUnavailable as error:
            _log.warning("session_concluded_without_model", session=str(session_id), error=type(error).__name__)
            conclusion = None
        async with self._begin(user_id) as tx:
            is_ours = await concluding.store(tx, user_id, ended, conclusion or ended.stand_in(), self._clock())
        if is_ours:
            await self._shown(user_id, session_id)

    async def _step(self, user_id: UUID, standing: SessionState) -> None:
        next_stage = stage_after(standing.kind, standing.stage)
        async with self._begin(user_id) as tx:
            moved = await step(tx, user_id, standing, next_stage, "judged", None, self._clock())
        if moved:
            await self._shown(user_id, standing.session_id)
            if next_stage is None:
                await self.conclude(user_id, standing.session_id)

    async def _note(self, user_id: UUID, standing: SessionState, read_at: datetime) -> None:
        async with self._begin(user_id) as tx:
            await _sql.judged.run(tx, user_id=user_id, id=standing.session_id, stage=standing.stage, read_at=read_at)

    async def _ask(self, message: ChatMessage, max_tokens: int) -> str:
        """:raises ModelUnavailable: no answer, or none in time."""
        options = ModelOptions(temperature=0.0, max_tokens=max_tokens, is_ours=True)
        async with self._free:
            return (await ask_model_once(self._model, [message], options, within=PATIENCE)).text
