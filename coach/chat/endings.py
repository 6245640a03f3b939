"""How a turn ends: what its rows say, and the terminal event that its readers see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import stamina
import structlog

from coach.chat import parts
from coach.chat.events import Failed, Finished, Interrupted, Terminal
from coach.chat.figures import check
from coach.chat.opened import Opened
from coach.chat.running import RunningTurn
from coach.chat.settling import Ending, close
from coach.database.pool import Database
from coach.errors import CoachError, DatabaseUnavailable, ModelUnavailable
from coach.metrics import turn_ended
from coach.models.base import Usage
from coach.values.background import log_failure
from coach.values.text import storable

_log = structlog.get_logger(__name__)

OUR_FAULT = "Something went wrong on our side; try again."

STORE_FOR = 8.0
"""Seconds in which the server tries to store an ending. After that the text of the last checkpoint is kept."""


def complete(running: RunningTurn) -> tuple[Ending, Terminal]:
    """The model has finished."""
    answer = running.answer
    ending = Ending(status="complete", finish_reason=answer.reason, used=True, **_facts(running))
    # One reading of the clock: a reader of the rows is told the same time as one of the stream.
    usage, spent = answer.usage or Usage(0, 0, counted=True), ending.processing_ms or 0
    return ending, Finished(answer.reason, usage, answer.first_token_ms or spent, spent)


def interrupted(running: RunningTurn, reason: str) -> tuple[Ending, Terminal]:
    """The turn was stopped. Its unit counts if there is any text."""
    ending = Ending(status="interrupted", error=reason, used=bool(running.answer.text), **_facts(running))
    return ending, Interrupted(reason)


def failed(running: RunningTurn, error: CoachError) -> tuple[Ending, Terminal]:
    """The answer is incomplete. Its unit counts if there is any text."""
    problem = (error.slug, str(error))
    facts = _facts(running)
    facts["context"] = facts["context"] | {"problem": problem}
    ending = Ending(status="failed", error=str(error), used=bool(running.answer.text), **facts)
    return ending, Failed(*problem)


def ending_of(running: RunningTurn, cause: Exception | None, timeout: float) -> tuple[Ending, Terminal]:
    """How a turn ends that ``cause`` broke off, or nothing; ``timeout`` is its time limit in seconds."""
    match cause:
        case None if running.answer.text.strip():
            return complete(running)
        case None:
            return failed(running, ModelUnavailable("The model gave an empty answer; try again."))
        case TimeoutError() if running.stopped is not None:
            return interrupted(running, running.stopped)
        case TimeoutError():
            return failed(running, ModelUnavailable(f"The turn took longer than {timeout:g} s."))
        case CoachError():
            return failed(running, cause)
    log_failure("turn_failed", cause, turn=str(running.turn.answer_id))
    return failed(running, CoachError(OUR_FAULT))


def least(running: RunningTurn) -> tuple[Ending, Terminal]:
    """A failure with nothing in its row but the text: for an ending that cannot be made or stored."""
    slug, text = CoachError.slug, storable(running.answer.text)
    ending = Ending(
        status="failed",
        text=text,
        used=bool(text),
        model=running.turn.choice.name,
        error=OUR_FAULT,
        context={"problem": (slug, OUR_FAULT)},
    )
    return ending, Failed(slug, OUR_FAULT)


@asynccontextmanager
async def settled(
    db: Database, running: RunningTurn, timeout: float, clock: Callable[[], datetime]
) -> AsyncIterator[None]:
    """Handles every way in which a turn can end: stores the ending, settles the unit, publishes the terminal event.
    ``timeout`` is the time limit in seconds, for the message.
    """
    cause = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a turn has to end, its unit be settled, whatever broke
        cause = error
    try:
        ending, event = ending_of(running, cause, timeout)
        event = await store(db, running.turn, ending, event, clock)
    except Exception as error:  # noqa: BLE001 - as above: a value that no row takes must not keep the turn running
        log_failure("ending_not_stored", error, turn=str(running.turn.answer_id))
        event = await _store_least(db, running, clock)
    running.log.publish(event)


async def store(db: Database, turn: Opened, ending: Ending, event: Terminal, clock: Callable[[], datetime]) -> Terminal:
    """Store the ending, and return the terminal event that matches what is stored."""
    try:
        async for attempt in stamina.retry_context(on=DatabaseUnavailable, attempts=None, timeout=STORE_FOR):
            with attempt:
                closed = await close(db, turn.reservation, ending, clock())
    except DatabaseUnavailable as error:
        _log.error("ending_not_stored", turn=str(turn.answer_id), status=ending.status)
        return Failed(error.slug, "The answer could not be stored; what was saved of it will be there.")
    if closed:
        turn_ended(
            ending.status,
            first_token_ms=ending.first_token_ms,
            input_tokens=ending.input_tokens,
            output_tokens=ending.output_tokens,
        )
    return event if closed else Interrupted("The server was away for too long; the turn was closed meanwhile.")


async def _store_least(db: Database, running: RunningTurn, clock: Callable[[], datetime]) -> Terminal:
    """What cannot even be stored so is closed later as an orphan."""
    ending, event = least(running)
    try:
        return await store(db, running.turn, ending, event, clock)
    except Exception as error:  # noqa: BLE001 - readers wait for the terminal event
        log_failure("ending_not_stored", error, turn=str(running.turn.answer_id))
        return event


def _facts(running: RunningTurn) -> dict[str, Any]:
    """What is known of a turn however it ends."""
    answer, completion = running.answer, running.answer.completion
    return {
        "text": answer.text,
        "model": completion.model if completion else running.turn.choice.name,
        "input_tokens": completion.usage.input_tokens if completion else None,
        "output_tokens": completion.usage.output_tokens if completion else None,
        "first_token_ms": answer.first_token_ms,
        "processing_ms": answer.elapsed_ms,
        "context": parts.store(running.parts),
        "details": _details(running),
    }


def _details(running: RunningTurn) -> dict[str, Any]:
    """``feature_details``: no content, only figures about it."""
    details: dict[str, Any] = {"model": running.turn.choice.name}
    if running.answer.completion:
        details |= {
            "finish_reason": running.answer.completion.reason,
            "tokens_counted": running.answer.completion.usage.counted,
        }
    if prompt := running.prompt:
        receipt = prompt.receipt
        details["retrieval"] = {"sources": len(prompt.sources), "stale": receipt.stale, "ms": receipt.retrieval_ms}
        held = check(running.answer.text, prompt.given, len(prompt.sources))
        if not held.holds:
            details["unsupported"] = {"figures": held.figures, "citations": held.citations}
    return details
