"""Housekeeping of chat UIs: titles, tags, follow-ups. The model alone: nothing is retrieved, stored or counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from time import monotonic
from uuid import UUID, uuid4

import msgspec

from coach.chat.events import Event, Failed, Finished, Started, TextDelta
from coach.chat.log import EventLog
from coach.errors import CoachError, InvalidInput, ModelUnavailable
from coach.identity.rate import RateLimiter
from coach.models.base import ChatMessage, ChatModel, Completion, Delta, ModelOptions
from coach.openai_api.messages import Said
from coach.values.text import escape

MOST_TOKENS = 1_000
MOST_TEXT = 128_000
PATIENCE = 60.0
PER_MINUTE, BURST = 30, 30
"""A chat UI asks for a title, tags and follow-ups after an answer: three a turn. What is free must not be endless."""


class Chores:
    """Asks the model what needs nothing of the person's life."""

    def __init__(self, model: ChatModel, rate: RateLimiter | None = None) -> None:
        self._model = model
        self._rate = rate or RateLimiter(PER_MINUTE, BURST)

    def begin(self, user_id: UUID, said: Said, options: ModelOptions) -> AsyncGenerator[Sequence[Event], None]:
        """The answer's events. Closing the reader closes the connection to the model.

        :raises RateLimited: says when to come back.
        :raises InvalidInput: it is longer than the model can read.
        """
        self._rate.take(user_id)
        options = msgspec.structs.replace(options, max_tokens=min(options.max_tokens or MOST_TOKENS, MOST_TOKENS))
        messages = _messages(said)
        room = self._model.context_tokens - MOST_TOKENS
        if sum(self._model.count_tokens(message.content) for message in messages) > room:
            raise InvalidInput(said.at, f"the messages are too long for this model ({room:,} tokens in all).")
        return _read(self._model, messages, options)


def _messages(said: Said) -> list[ChatMessage]:
    """No role of ours: what an application says in a system message is the user's data here as well."""
    notes = [ChatMessage("user", f"<application_note>\n{escape(note)}\n</application_note>") for note in said.notes]
    past = [ChatMessage(role, text) for role, text in reversed(said.history)]
    return [*notes, *past, ChatMessage("user", said.question)]


async def _read(
    model: ChatModel, messages: Sequence[ChatMessage], options: ModelOptions
) -> AsyncGenerator[Sequence[Event], None]:
    log = EventLog()
    # A task of its own: a time limit belongs to one task, and readers go on in another after each silence.
    asking = asyncio.create_task(_ask(model, messages, options, log))
    try:
        async for batch in log.read():
            yield batch
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


async def _ask(model: ChatModel, messages: Sequence[ChatMessage], options: ModelOptions, log: EventLog) -> None:
    began, said_anything = monotonic(), False
    log.publish(Started(f"msg_{uuid4().hex}", "", "", "", model.name, ""))
    try:
        async with asyncio.timeout(PATIENCE), aclosing(model.stream(messages, options)) as pieces:
            async for piece in pieces:
                match piece:
                    case Delta(text):
                        said_anything = True
                        log.publish(TextDelta(text))
                    case Completion():
                        spent = round((monotonic() - began) * 1000)
                        ending = Finished(piece.reason, piece.usage, spent, spent)
        if not said_anything:
            raise ModelUnavailable("The model gave an empty answer; try again.")
        log.publish(ending)
    except TimeoutError:
        log.publish(Failed(ModelUnavailable.slug, f"The answer took longer than {PATIENCE:g} s."))
    except CoachError as error:
        log.publish(Failed(error.slug, str(error)))
