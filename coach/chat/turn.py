"""One turn, from its question to its stored answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from uuid import UUID

from coach.chat.cap import AnswerCap, capped
from coach.chat.checkpoints import Checkpoints
from coach.chat.choice import Choices
from coach.chat.endings import settled
from coach.chat.events import ContextRead, Interrupted, SourceFound, Started
from coach.chat.grounding import Grounding
from coach.chat.ledger import Ledger
from coach.chat.meaning import Busy, Replay
from coach.chat.memory import MessageMemory
from coach.chat.opened import Opened
from coach.chat.opening import BUSY_AGAIN, Opening
from coach.chat.prompt import Prompt, compose
from coach.chat.running import RunningTurn
from coach.database.pool import Database
from coach.errors import Conflict, RateLimited, Unavailable
from coach.retrieval.base import Context, Embedder
from coach.retrieval.context import Retrieved, Retriever
from coach.values.background import BackgroundTasks
from coach.values.fair import FairGate
from coach.values.text import escape

OPENINGS = 3
"""Turns that a process begins at once; the others wait, so that these and other requests are quick."""

WAITING = 64
"""Of one user. More at once are no turns of a person, nor repeats of one."""

PATIENCE = 30.0
"""Seconds that a turn waits to begin."""

# An orphan is closed after ten seconds without a heartbeat. No request waits longer than that.
INTERRUPT_ATTEMPTS = 60

KEEPS_FROM_EMBEDDER = ("record_rag_snippets", "embedder-unavailable")
"""Reasons of a receipt why a turn's messages are left to the worker."""


class TurnRunner:
    """Runs turns. ``make_room`` interrupts the running turn of a conversation. ``opened`` is called for each turn
    before the caller of ``begin`` hears of it, ``ended`` after its terminal event. Neither may block.
    """

    def __init__(
        self,
        db: Database,
        *,
        ledger: Ledger,
        choices: Choices,
        embedder: Embedder,
        retriever: Retriever,
        timeout: float,
        cap: AnswerCap,
        clock: Callable[[], datetime],
        tasks: BackgroundTasks,
        make_room: Callable[[RunningTurn, Busy], Awaitable[None]],
        opened: Callable[[RunningTurn], None],
        ended: Callable[[RunningTurn], None],
    ) -> None:
        self._db, self._ledger, self._choices = db, ledger, choices
        self._timeout, self._cap, self._clock, self._tasks = timeout, cap, clock, tasks
        self._make_room, self._opened, self._ended = make_room, opened, ended
        self._openings = FairGate(OPENINGS)
        self._grounding = Grounding(db, retriever, clock)
        self._checkpoints = Checkpoints(db, clock)
        self._memory = MessageMemory(db, embedder)

    async def run(self, running: RunningTurn) -> None:
        """Carry one turn from question to stored answer.

        Publishes to the turn's log as it goes; the events, not the caller, are the result. Ends in exactly one terminal
        event and one final state of the turn's rows, whatever happens upstream. A repeat and a refusal store nothing;
        the caller of ``begin`` gets them.
        """
        looking = await self._open(running)
        if looking is None:
            return
        turn, answer = running.turn, running.answer
        try:
            async with (
                self._checkpoints.keep(running) as kept,
                settled(self._db, running, self._timeout, self._clock),
                running.limit_time(self._timeout),
            ):
                self._opened(running)
                context = await self._grounding.context(turn, await asyncio.shield(looking))
                prompt = running.prompt = _compose(running, context)
                running.publish(ContextRead(prompt.receipt), *map(SourceFound, prompt.sources))
                running.raise_if_stopped()

                model = turn.choice.model
                async with (
                    aclosing(model.stream(prompt.messages, prompt.options)) as pieces,
                    aclosing(capped(pieces, self._cap, prompt, turn.choice.name, model.count_tokens)) as slices,
                ):
                    async for piece in slices:
                        running.raise_if_stopped()
                        running.add_piece(piece)
                        self._checkpoints.grew(kept)
        finally:
            running.log.publish(Interrupted("shutdown"))  # taken only where nothing else has ended it
            self._ended(running)
        # The consent of the context's own snapshot, too: the embedder may be another company's.
        withheld = running.prompt.receipt.withheld if running.prompt else ()
        if turn.may_embed and all(each.reason not in KEEPS_FROM_EMBEDDER for each in withheld):
            await self._memory.remember(turn, answer.text)

    async def aclose(self) -> None:
        """When no turn runs any more."""
        await self._checkpoints.aclose()

    async def _open(self, running: RunningTurn) -> asyncio.Task[Retrieved] | None:
        """Store the question while its context is retrieved, and tell the caller of ``begin``. None if no turn has to
        run."""
        try:
            opened, looking = await self._opened_and_looking(running)
        except asyncio.CancelledError:
            running.opening.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it rises where the turn was begun
            running.opening.set_exception(error)
            return None
        if isinstance(opened, Opened):
            running.log.publish(_started(opened), opened.quota)
        running.opening.set_result(opened)
        return looking

    async def _opened_and_looking(self, running: RunningTurn) -> tuple[Opened | Replay, asyncio.Task[Retrieved] | None]:
        """A repeat needs no context, so the failure of its retrieval is ignored."""
        looking = None
        choice = self._choices.choose(running.request)
        for _ in range(INTERRUPT_ATTEMPTS):
            async with (
                self._place(running.user_id),
                self._ledger.opening(running.user_id, running.request, self._clock()) as opening,
            ):
                if looking is None and opening.has_room:
                    # Wait for the consents first: without them no text may reach the embedder.
                    looking = self._look(running, opening)
                opened = await opening.begin(choice, self._choices)
            if isinstance(opened, Opened):
                return opened, looking or self._look(running, opening)
            if isinstance(opened, Replay):
                return opened, None
            await self._make_room(running, opened)
        raise Conflict("Another turn of this conversation could not be interrupted; try again.")

    def _look(self, running: RunningTurn, opening: Opening) -> asyncio.Task[Retrieved]:
        look = self._grounding.retrieve(running.user_id, running.request, may_embed=opening.may_embed)
        return self._tasks.start(look, is_awaited=True)

    @asynccontextmanager
    async def _place(self, user_id: UUID) -> AsyncIterator[None]:
        """Its place among the turns that begin now; users get one by turns."""
        if self._openings.waiting(user_id) >= WAITING:
            raise RateLimited(BUSY_AGAIN, f"{WAITING} of your turns wait to begin; ask again a little later.")
        try:
            await self._openings.enter(user_id, PATIENCE)
        except TimeoutError:
            raise Unavailable("The server has too much to do at the moment; try again.") from None
        try:
            yield
        finally:
            self._openings.leave()


def _started(turn: Opened) -> Started:
    keys = (turn.answer_key, turn.conversation_key, turn.question_key, str(turn.reservation.interaction_id))
    return Started(*keys, turn.choice.name, turn.choice.template.label)


def _compose(running: RunningTurn, context: Context) -> Prompt:
    turn, caller = running.turn, running.request.caller
    local = turn.started.astimezone(turn.timezone)
    now = f"{local:%A %-d %B %Y, %H:%M} ({turn.timezone.key})"
    past = [(message.role, message.as_data) for message in turn.history]
    if caller is not None:
        # Its assistant's words may be anybody's, like those of an import.
        told = [(role, text if role == "user" else escape(text)) for role, text in caller.history]
        past = [*told, *(past if caller.uses_stored_history else ())]
    notes = caller.notes if caller is not None else ()
    choice = turn.choice
    return compose(choice.template, context, past, turn.text, now, choice.model.count_tokens, choice.room, notes)
