"""Turns: from a question to a stored answer. A turn belongs to the server; its readers come and go."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

import structlog

from coach.chat.answer import Answer
from coach.chat.attended import Attendance
from coach.chat.checkpoints import Checkpoints, Kept
from coach.chat.endings import complete, failed, interrupted, store
from coach.chat.events import ContextRead, Event, QuotaTold, SourceFound, Started, TextDelta
from coach.chat.grounding import Grounding
from coach.chat.ledger import Ledger, Opened
from coach.chat.log import EventLog
from coach.chat.meaning import Busy, Replay
from coach.chat.memory import MessageMemory
from coach.chat.prompt import Prompt, Prompts, Template, compose, room_for_context
from coach.chat.replay import Replays, StoredContext
from coach.chat.schemas import ChatRequest
from coach.chat.settling import close_orphan
from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import CoachError, Conflict, InvalidInput, ModelUnavailable
from coach.models.base import ChatModel, Completion, Delta
from coach.retrieval.base import Context, Embedder
from coach.retrieval.context import Looked, Retriever
from coach.values.clock import utc_now

_sql = load("chat")
_log = structlog.get_logger(__name__)

RESUMABLE_FOR = timedelta(minutes=5)

# A turn of a process that died is closed after ten seconds without a heartbeat; nobody waits longer than that.
INTERRUPT_ATTEMPTS, INTERRUPT_PAUSE = 60, 0.2

ENDINGS = 2.0
"""Seconds in which a shutdown stores what it has interrupted."""

Reader = AsyncGenerator[Sequence[Event], None]
T = TypeVar("T")


def _asked(request: ChatRequest) -> str:
    """All that has to find room, whatever else is dropped."""
    return "\n".join((request.text, *(request.caller.notes if request.caller is not None else ())))


class RunningTurn:
    """One turn in this process: its rows, its events, and the ways to end it early."""

    def __init__(self, turn: Opened, request: ChatRequest, arrived: float) -> None:
        self.turn, self.request = turn, request
        self.readers = 0
        self.log = EventLog()
        self.answer = Answer(arrived)
        self.prompt: Prompt | None = None
        self.stopped: str | None = None
        self.task: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None

    def stop(self, reason: str) -> None:
        """End it at its next step; what was said so far is kept."""
        self.stopped = self.stopped or reason
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    def go_on(self) -> None:
        """For the places where a cancellation can have been dropped on the way (see ``Checkpoints``).

        :raises TimeoutError: the turn was stopped, or its time is up.
        """
        if self.stopped or (self._limit is not None and self._limit.expired()):
            raise TimeoutError

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """The time limit of the whole turn; a stop moves it to now. There is none while its ending is stored."""
        try:
            async with asyncio.timeout(0 if self.stopped else seconds) as self._limit:
                yield
        finally:
            self._limit = None

    def stored_context(self) -> dict[str, object] | None:
        if self.prompt is None:
            return None
        return StoredContext(self.prompt.receipt, self.prompt.sources).plain()


class Turns:
    """Begins, resumes, stops and drains turns.

    ``models`` are those that a request may choose, by name; the first is the default. ``clock`` gives an aware time.
    ``completed`` hears of each turn that got its whole answer, ``stepped`` of each that has taken its coaching session
    a step further; neither must keep it waiting.
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
        timeout: float,
        clock: Callable[[], datetime] = utc_now,
        completed: Callable[[RunningTurn], None] = lambda running: None,
        stepped: Callable[[Opened], None] = lambda turn: None,
    ) -> None:
        self._db, self._models = db, models
        self._prompts, self._timeout, self.clock = prompts, timeout, clock
        self._completed, self._stepped = completed, stepped
        self.ledger = Ledger(db, monthly_limit)
        self._grounding = Grounding(db, embedder, retriever, clock)
        self._replays = Replays(db, self.ledger, clock)
        self._checkpoints = Checkpoints(db, clock)
        self._memory = MessageMemory(db, embedder)
        self._attendance = Attendance(db, clock, self._spawn)
        self._running: dict[UUID, RunningTurn] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, running: RunningTurn, looking: asyncio.Task[Looked]) -> None:
        """Carry one turn from question to stored answer.

        Publishes to the turn's log as it goes; the events, not the caller, are the result. Ends in exactly one terminal
        event and one final state of the turn's rows, whatever happens upstream.
        """
        turn, answer = running.turn, running.answer
        model = self._models[turn.model]
        async with running.within(self._timeout), self._keep_checkpoints(running) as kept:
            context = await self._grounding.context(turn, await asyncio.shield(looking))
            prompt = running.prompt = self._compose(running, context)
            running.log.publish(ContextRead(prompt.receipt), *map(SourceFound, prompt.sources))
            running.go_on()

            async with aclosing(model.stream(prompt.messages, prompt.options)) as pieces:
                async for piece in pieces:
                    running.go_on()
                    match piece:
                        case Delta(text):
                            answer.append(text)
                            running.log.publish(TextDelta(text))
                            self._checkpoints.grew(kept)
                        case Completion():
                            answer.completion = piece
        if not answer.text:
            raise ModelUnavailable("The model gave an empty answer; try again.")

    async def _carry(self, running: RunningTurn, looking: asyncio.Task[Looked]) -> None:
        """Every way in which a turn can end, once."""
        try:
            await self.run(running, looking)
            ending, event = complete(running)
        except TimeoutError:
            if running.stopped is None:
                ending, event = failed(running, ModelUnavailable(f"The turn took longer than {self._timeout:g} s."))
            else:
                ending, event = interrupted(running, running.stopped)
        except CoachError as error:
            ending, event = failed(running, error)
        except Exception as error:  # noqa: BLE001 - a turn has to end, its unit be settled, whatever broke
            # Without the message: a database error may quote the row, and logs hold no content.
            frames = traceback.format_tb(error.__traceback__)
            _log.error("turn_broke", turn=str(running.turn.answer_id), error=type(error).__name__, frames=frames)
            ending, event = failed(running, CoachError("Something went wrong on our side; try again."))
        event = await store(self._db, running.turn, ending, event, self.clock)
        running.log.publish(event)
        self._running.pop(running.turn.answer_id, None)
        if ending.status == "complete":
            self._completed(running)
        if self._may_remember(running):
            await self._memory.remember(running.turn, running.answer.text)

    def _may_remember(self, running: RunningTurn) -> bool:
        """Without consent a text does not even reach the embedder, which may be another company's."""
        withheld = running.prompt.receipt.withheld if running.prompt else ()
        return not running.turn.incognito and all(w.reason != "record_rag_snippets" for w in withheld)

    async def begin(self, user_id: UUID, request: ChatRequest) -> Reader:
        """Start the turn that ``request`` asks for, or find the one that it repeats.

        In a task of its own: a client that leaves now cancels the caller, and must not leave half a turn behind.

        :raises Refused: quota, conflict, input; nothing is stored then.
        :raises DatabaseUnavailable: nothing is stored then.
        """
        return await asyncio.shield(self._spawn(self._begin(user_id, request)))

    async def _begin(self, user_id: UUID, request: ChatRequest) -> Reader:
        arrived = monotonic()
        model = self._chosen(request)
        template = self._template(request)
        room_for_context(
            template, _asked(request), self._models[model].count_tokens, self._models[model].context_tokens
        )
        looking = self._spawn(self._grounding.look(user_id, request))
        opened: Opened | Replay | Busy | None = None
        for _ in range(INTERRUPT_ATTEMPTS):
            now = self.clock()
            opened = await self.ledger.open(
                user_id, request, model=model, prompt=template.label, now=now, labelled=self._label
            )
            if not isinstance(opened, Busy):
                break
            await self._interrupt(user_id, opened.answer_id, request.conversation_id)
        match opened:
            case Opened():
                return self._launch(RunningTurn(opened, request, arrived), looking)
            case Replay(answer_id):
                return self._reader(user_id, answer_id, request)
            case _:
                raise Conflict("Another turn of this conversation could not be interrupted; try again.")

    def _launch(self, running: RunningTurn, looking: asyncio.Task[Looked]) -> Reader:
        turn = running.turn
        self._running[turn.answer_id] = running
        keys = (turn.answer_key, turn.conversation_key, turn.question_key, str(turn.reservation.interaction_id))
        running.log.publish(Started(*keys, turn.model, turn.prompt), turn.quota)
        running.task = self._spawn(self._carry(running, looking))
        if turn.session is not None and turn.session.has_changed:
            self._stepped(turn)
        return self._attendance.reader(running)

    def _reader(self, user_id: UUID, answer_id: UUID, request: ChatRequest) -> Reader:
        running = self._running.get(answer_id)
        if running:
            return self._attendance.reader(running)
        return self._replays.follow(user_id, answer_id, None if request.caller is None else self._attendance)

    async def snapshot(self, user_id: UUID, answer_id: UUID) -> Sequence[Event]:
        """An answer as it stands, without waiting for its end."""
        return await self._replays.snapshot(user_id, answer_id)

    def follow(self, user_id: UUID, answer_id: UUID) -> Reader:
        """An answer from its first event to its end, wherever it runs; a reader that only follows keeps none alive."""
        running = self._running.get(answer_id)
        return running.log.read() if running else self._replays.follow(user_id, answer_id)

    async def resume(self, user_id: UUID, conversation_key: str) -> Reader | None:
        """The turn that runs in a conversation, or ended under five minutes ago, from its first event; else None."""
        since = self.clock() - RESUMABLE_FOR
        async with self._db.as_user(user_id) as tx:
            row = await _sql.resumable_answer(tx, user_id=user_id, client_id=conversation_key, ended_since=since)
        return self.follow(user_id, row[0]) if row else None

    async def stop(self, user_id: UUID, conversation_key: str) -> None:
        """Stop what runs in a conversation, wherever it runs; the partial answer is kept."""
        for answer_id in await self.ledger.request_stop(user_id, conversation_key):
            if running := self._running.get(answer_id):
                running.stop("stopped")

    async def quota(self, user_id: UUID) -> QuotaTold:
        return await self.ledger.quota(user_id, self.clock())

    @property
    def running(self) -> int:
        """How many turns this process carries."""
        return len(self._running)

    async def drain(self, grace: float) -> None:
        """Let running turns finish for ``grace`` seconds, then interrupt and store the rest.

        What hangs after that is cut off: vectors that an embedder still makes are left to the worker.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for running in list(self._running.values()):
            running.stop("shutdown")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDINGS)
        for task in list(self._tasks):
            task.cancel()

    async def _interrupt(self, user_id: UUID, answer_id: UUID, conversation_key: str) -> None:
        """Make room for a new turn: stop the running one here or elsewhere, or close it if its process died."""
        if running := self._running.get(answer_id):
            running.stop("superseded")
            if running.task is not None:
                await asyncio.wait([running.task], timeout=INTERRUPT_PAUSE * 10)
            return
        if await close_orphan(self._db, user_id, answer_id, self.clock()):
            return
        await self.ledger.request_stop(user_id, conversation_key)
        await asyncio.sleep(INTERRUPT_PAUSE)

    def _keep_checkpoints(self, running: RunningTurn) -> AbstractAsyncContextManager[Kept]:
        return self._checkpoints.keep(
            running.turn, running.answer, running.stored_context, lambda: running.stop("stopped")
        )

    def _compose(self, running: RunningTurn, context: Context) -> Prompt:
        turn, caller = running.turn, running.request.caller
        model, template = self._models[turn.model], self._template(running.request, turn.persona)
        room = room_for_context(template, _asked(running.request), model.count_tokens, model.context_tokens)
        local = turn.started.astimezone(turn.timezone)
        now = f"{local:%A %-d %B %Y, %H:%M} ({turn.timezone.key})"
        past = [(role, text) for _, role, text in turn.history]
        if caller is not None:
            past = [*caller.history, *(past if caller.recalls else ())]
        notes = caller.notes if caller is not None else ()
        return compose(template, context, past, turn.text, now, model.count_tokens, room, notes)

    def _label(self, name: str) -> str:
        return self._prompts[name].label

    def _template(self, request: ChatRequest, name: str | None = None) -> Template:
        """A persona, the feature's unless named, with what the caller tunes instead of the prompt's own settings."""
        template = self._prompts[name or request.feature]
        if request.caller is None:
            return template
        return template.tuned(request.caller.options, self._models[self._chosen(request)].context_tokens)

    def _chosen(self, request: ChatRequest) -> str:
        if request.model is None:
            return next(iter(self._models))
        if request.model not in self._models:
            raise InvalidInput("model", f"must be one of {', '.join(self._models)}.")
        return request.model

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that is held on to: the event loop itself keeps weak references only."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        """What failed in a task that nobody waits for any more is nobody's: a repeat needs no context."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()
