"""The turns that run in this process: begun, followed, stopped, drained. Their readers come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from coach.chat.cap import AnswerCap
from coach.chat.choice import Choices
from coach.chat.events import Event, Finished
from coach.chat.ledger import Ledger
from coach.chat.meaning import Busy, Replay
from coach.chat.opened import Opened
from coach.chat.opening import TURNS_AT_ONCE
from coach.chat.prompt import Prompts
from coach.chat.readers import TurnReaders
from coach.chat.replay import StoredTurns
from coach.chat.running import RunningTurn
from coach.chat.schemas import ChatRequest
from coach.chat.settling import LIVING, close_orphan
from coach.chat.turn import TurnRunner
from coach.database.pool import Database
from coach.database.queries import load
from coach.models.base import ChatModel
from coach.retrieval.base import Embedder
from coach.retrieval.context import Retriever
from coach.values.background import BackgroundTasks
from coach.values.clock import utc_now

_sql = load("chat")

RESUMABLE_FOR = timedelta(minutes=5)

INTERRUPT_PAUSE = 0.2

ENDINGS = 2.0
"""Seconds in which a shutdown stores what it has interrupted."""

Reader = AsyncGenerator[Sequence[Event], None]


class Turns:
    """Turns belong to the server, not to their requests.

    ``models`` are those that a request may choose, by name; the first is the default. ``clock`` gives an aware time.
    ``completed`` is called for each turn with a whole answer, ``session_moved`` for each whose command changed
    its coaching session. Neither may block.
    """

    def __init__(
        self,
        db: Database,
        *,
        models: Mapping[str, ChatModel],
        embedder: Embedder,
        retriever: Retriever,
        prompts: Prompts,
        monthly_limit: int,
        at_once: int = TURNS_AT_ONCE,
        timeout: float,
        cap: AnswerCap = AnswerCap(),  # noqa: B008 - a frozen value
        clock: Callable[[], datetime] = utc_now,
        completed: Callable[[RunningTurn], None] = lambda running: None,
        session_moved: Callable[[Opened], None] = lambda turn: None,
    ) -> None:
        self._db, self.clock = db, clock
        self._completed, self._stepped = completed, session_moved
        self.ledger = Ledger(db, monthly_limit, at_once)
        self._replays = StoredTurns(db, self.ledger, clock)
        self._tasks = BackgroundTasks("turn_task_failed")
        self._attendance = TurnReaders(db, clock, self._tasks)
        self._running: dict[UUID, RunningTurn] = {}
        self._runner = TurnRunner(
            db,
            ledger=self.ledger,
            choices=Choices(models, prompts),
            embedder=embedder,
            retriever=retriever,
            timeout=timeout,
            cap=cap,
            clock=clock,
            tasks=self._tasks,
            make_room=self._make_room,
            opened=self._opened,
            ended=self._ended,
        )

    async def begin(self, user_id: UUID, request: ChatRequest) -> Reader:
        """Start the turn that ``request`` asks for, or find the one that it repeats.

        The turn is a task of its own: a client that leaves now cancels the caller, and leaves no half a turn behind.

        :raises Refused: quota, conflict, input; nothing is stored then.
        :raises DatabaseUnavailable: nothing is stored then.
        """
        running = RunningTurn(user_id, request)
        running.task = self._tasks.start(self._runner.run(running))
        opened = await asyncio.shield(running.opening)
        if isinstance(opened, Replay):
            return self._reader_of_repeat(user_id, opened.answer_id, request)
        return self._attendance.reader(running)

    def _reader_of_repeat(self, user_id: UUID, answer_id: UUID, request: ChatRequest) -> Reader:
        running = self._running.get(answer_id)
        if running:
            return self._attendance.reader(running)
        return self._replays.follow(user_id, answer_id, None if request.caller is None else self._attendance)

    async def snapshot(self, user_id: UUID, answer_id: UUID) -> Sequence[Event]:
        """An answer as it stands, without waiting for its end."""
        return await self._replays.snapshot(user_id, answer_id)

    def follow(self, user_id: UUID, answer_id: UUID) -> Reader:
        """An answer from its first event to its end, in whichever process it runs. This reader does not keep the turn
        running."""
        running = self._running.get(answer_id)
        return running.log.read() if running else self._replays.follow(user_id, answer_id)

    async def resume(self, user_id: UUID, conversation_key: str) -> Reader | None:
        """The turn that runs in a conversation, or ended under five minutes ago, from its first event; else None."""
        since = self.clock() - RESUMABLE_FOR
        async with self._db.as_user(user_id) as tx:
            found = await _sql.resumable_answer.value(
                tx, user_id=user_id, client_id=conversation_key, ended_since=since
            )
        return self.follow(user_id, found) if found else None

    async def stop(self, user_id: UUID, conversation_key: str) -> None:
        """Stop what runs in a conversation, wherever it runs; the partial answer is kept."""
        for answer_id in await self.ledger.request_stop(user_id, conversation_key):
            if running := self._running.get(answer_id):
                running.stop("stopped")

    @property
    def running(self) -> int:
        """How many turns run in this process."""
        return len(self._running)

    async def drain(self, grace: float) -> None:
        """Let running turns finish for ``grace`` seconds, then interrupt and store the rest.

        What hangs after that is cut off: vectors that an embedder still makes are left to the worker.
        """
        await self._tasks.wait(grace)
        for running in list(self._running.values()):
            running.stop("shutdown")
        await self._tasks.aclose(ENDINGS)
        await self._runner.aclose()

    def _opened(self, running: RunningTurn) -> None:
        self._running[running.turn.answer_id] = running
        LIVING.add(running.turn.answer_id)
        session = running.turn.session
        if session is not None and session.has_changed:
            self._stepped(running.turn)

    def _ended(self, running: RunningTurn) -> None:
        self._running.pop(running.turn.answer_id, None)
        LIVING.discard(running.turn.answer_id)
        if isinstance(running.log.terminal, Finished):
            self._completed(running)

    async def _make_room(self, coming: RunningTurn, busy: Busy) -> None:
        """Stop the running turn, here or in another process, or close it if it is an orphan."""
        if running := self._running.get(busy.answer_id):
            running.stop("superseded")
            if running.task is not None:
                await asyncio.wait([running.task], timeout=INTERRUPT_PAUSE * 10)
            return
        if await close_orphan(self._db, coming.user_id, busy.answer_id, self.clock()):
            return
        await self.ledger.request_stop(coming.user_id, coming.request.conversation_id)
        await asyncio.sleep(INTERRUPT_PAUSE)
