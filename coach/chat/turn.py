"""One turn, from its question to its stored answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import datetime

from coach.chat.checkpoints import Checkpoints
from coach.chat.choice import Choices
from coach.chat.endings import settled
from coach.chat.events import ContextRead, SourceFound
from coach.chat.grounding import Grounding
from coach.chat.ledger import Ledger
from coach.chat.meaning import Busy
from coach.chat.memory import MessageMemory
from coach.chat.prompt import Prompt, compose
from coach.chat.running import RunningTurn
from coach.database.pool import Database
from coach.errors import Conflict
from coach.retrieval.base import Context, Embedder
from coach.retrieval.context import Retrieved, Retriever
from coach.values.background import BackgroundTasks

# An orphan is closed after ten seconds without a heartbeat. No request waits longer than that.
INTERRUPT_ATTEMPTS = 60


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
        clock: Callable[[], datetime],
        tasks: BackgroundTasks,
        make_room: Callable[[RunningTurn, Busy], Awaitable[None]],
        opened: Callable[[RunningTurn], None],
        ended: Callable[[RunningTurn], None],
    ) -> None:
        self._db, self._ledger, self._choices = db, ledger, choices
        self._timeout, self._clock, self._tasks = timeout, clock, tasks
        self._make_room, self._opened, self._ended = make_room, opened, ended
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
        async with (
            settled(self._db, running, self._timeout, self._clock),
            running.limit_time(self._timeout),
            self._checkpoints.keep(running) as kept,
        ):
            self._opened(running)
            context = await self._grounding.context(turn, await asyncio.shield(looking))
            prompt = running.prompt = _compose(running, context)
            running.publish(ContextRead(prompt.receipt), *map(SourceFound, prompt.sources))
            running.raise_if_stopped()

            async with aclosing(turn.choice.model.stream(prompt.messages, prompt.options)) as pieces:
                async for piece in pieces:
                    running.raise_if_stopped()
                    running.add_piece(piece)
                    self._checkpoints.grew(kept)
        self._ended(running)
        if running.may_embed:
            await self._memory.remember(turn, answer.text)

    async def _open(self, running: RunningTurn) -> asyncio.Task[Retrieved] | None:
        """Store the question while its context is retrieved, which takes as long. None if no turn has to run."""
        looking = None
        with running.beginning():
            choice = self._choices.choose(running.request)
            for _ in range(INTERRUPT_ATTEMPTS):
                async with self._ledger.opening(running.user_id, running.request, self._clock()) as opening:
                    # Wait for the consents first: without them no text may reach the embedder.
                    looking = looking or self._retrieve(running, may_embed=opening.may_embed)
                    opened = await opening.begin(choice, self._choices)
                if not isinstance(opened, Busy):
                    return looking if running.begun(opened) else None
                await self._make_room(running, opened)
            raise Conflict("Another turn of this conversation could not be interrupted; try again.")
        return None

    def _retrieve(self, running: RunningTurn, *, may_embed: bool) -> asyncio.Task[Retrieved]:
        """A repeat needs no context, so its failure is ignored."""
        look = self._grounding.retrieve(running.user_id, running.request, may_embed=may_embed)
        return self._tasks.start(look, is_awaited=True)


def _compose(running: RunningTurn, context: Context) -> Prompt:
    turn, caller = running.turn, running.request.caller
    local = turn.started.astimezone(turn.timezone)
    now = f"{local:%A %-d %B %Y, %H:%M} ({turn.timezone.key})"
    past = [(message.role, message.text) for message in turn.history]
    if caller is not None:
        past = [*caller.history, *(past if caller.uses_stored_history else ())]
    notes = caller.notes if caller is not None else ()
    choice = turn.choice
    return compose(choice.template, context, past, turn.text, now, choice.model.count_tokens, choice.room, notes)
