"""A running turn of this process: its state, and the ways to end it early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from uuid import UUID

from coach.chat.answer import Answer
from coach.chat.events import ModelLoading, ReasoningDelta, TextDelta
from coach.chat.log import EventLog
from coach.chat.meaning import Replay
from coach.chat.opened import Opened
from coach.chat.parts import Part
from coach.chat.prompt import Prompt
from coach.chat.schemas import ChatRequest
from coach.models.base import Completion, Delta, Loading, Piece, Reasoning


class RunningTurn:
    """The result of ``opening`` goes to the caller of ``begin``: the turn, the answer that it repeats, or the
    refusal."""

    def __init__(self, user_id: UUID, request: ChatRequest) -> None:
        self.user_id, self.request = user_id, request
        self.opening: asyncio.Future[Opened | Replay] = asyncio.get_running_loop().create_future()
        self.readers = 0
        self.log = EventLog()
        self.parts: list[Part] = []
        self.answer = Answer(monotonic())
        self.prompt: Prompt | None = None
        self.stopped: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None

        self.opening.add_done_callback(_retrieve)

    @property
    def turn(self) -> Opened:
        """Once it has opened."""
        opened = self.opening.result()
        assert isinstance(opened, Opened), "a repeat does not run"
        return opened

    def publish(self, *parts: Part) -> None:
        """Publish events to the readers. Later readers get those parts that are stored."""
        self.parts += [part for part in parts if part.stored_as is not None]
        self.log.publish(*parts)

    def add_piece(self, piece: Piece) -> None:
        """Add a piece of the answer, or its completion."""
        match piece:
            case Delta(text):
                self.answer.append(text)
                self.log.publish(TextDelta(text))
            case Reasoning(text):
                self.log.publish(ReasoningDelta(text))
            case Loading():
                self.publish(ModelLoading())
            case Completion():
                self.answer.completion = piece

    def stop(self, reason: str) -> None:
        """End it at its next step; what was said so far is kept."""
        self.stopped = self.stopped or reason
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    def raise_if_stopped(self) -> None:
        """Call this where a cancellation can have been dropped (see ``Checkpoints``).

        :raises TimeoutError: the turn was stopped, or its time is up.
        """
        if self.stopped or (self._limit is not None and self._limit.expired()):
            raise TimeoutError

    @asynccontextmanager
    async def limit_time(self, seconds: float) -> AsyncIterator[None]:
        """The time limit of the whole turn; a stop moves it to now. There is none while its ending is stored."""
        try:
            async with asyncio.timeout(0 if self.stopped else seconds) as self._limit:
                yield
        finally:
            self._limit = None


def _retrieve(opening: asyncio.Future[Opened | Replay]) -> None:
    """Ignore a refusal if the caller of ``begin`` has left."""
    if not opening.cancelled():
        opening.exception()
