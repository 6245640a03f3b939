"""UI tasks: titles, tags, follow-ups for a chat client. The model alone: nothing is retrieved, stored or counted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from time import monotonic
from uuid import UUID, uuid4

import msgspec

from coach.chat.events import Event, Failed, Finished, Started, TextDelta
from coach.chat.log import EventLog
from coach.chat.prompt import alternating
from coach.errors import CoachError, InvalidInput, ModelUnavailable
from coach.identity.rate import RateLimiter
from coach.models.base import ChatMessage, ChatModel, ModelOptions
from coach.models.whole import ask_model_once
from coach.openai_api.messages import CallMessages
from coach.values.background import beside, log_failure
from coach.values.text import escape, storable

MOST_TOKENS = 1_000
MOST_TEXT = 128_000
PATIENCE = 60.0
PER_MINUTE, BURST = 30, 30
"""A chat UI asks for a title, tags and follow-ups after each answer: three a turn. They are free, so they have a rate
limit."""


class UiTasks:
    """Calls the model for UI tasks, without the user's data."""

    def __init__(self, model: ChatModel, rate: RateLimiter | None = None) -> None:
        self._model = model
        self._rate = rate or RateLimiter(PER_MINUTE, BURST)

    def begin(self, user_id: UUID, said: CallMessages, options: ModelOptions) -> AsyncGenerator[Sequence[Event], None]:
        """The answer's events. Closing the reader closes the connection to the model.

        :raises RateLimited: says when to come back.
        :raises InvalidInput: it is longer than the model can read.
        """
        self._rate.take(user_id)
        if options.max_tokens is not None:
            options = msgspec.structs.replace(options, max_tokens=min(options.max_tokens, MOST_TOKENS))
        messages = _messages(said)
        room = self._model.context_tokens - MOST_TOKENS
        if sum(self._model.count_tokens(message.content) for message in messages) > room:
            raise InvalidInput(said.at, f"the messages are too long for this model ({room:,} tokens in all).")
        return _read(self._model, messages, options)


def _messages(said: CallMessages) -> list[ChatMessage]:
    """No role of ours: what an application says in a system message is the user's data here as well."""
    notes = [ChatMessage("user", f"<application_note>\n{escape(note)}\n</application_note>") for note in said.notes]
    past = [ChatMessage(role, text) for role, text in reversed(said.history)]
    return alternating([*notes, *past, ChatMessage("user", said.question)])


async def _read(
    model: ChatModel, messages: Sequence[ChatMessage], options: ModelOptions
) -> AsyncGenerator[Sequence[Event], None]:
    log = EventLog()
    # A task of its own: a time limit belongs to one task, and readers go on in another after each silence.
    async with beside(_ask(model, messages, options, log), "ui_task_broke"):
        async for batch in log.read():
            yield batch


async def _ask(model: ChatModel, messages: Sequence[ChatMessage], options: ModelOptions, log: EventLog) -> None:
    began = monotonic()
    log.publish(Started(f"msg_{uuid4().hex}", "", "", "", model.name, ""))
    try:
        answer = await ask_model_once(model, messages, options, within=PATIENCE)
    except CoachError as error:
        log.publish(Failed(error.slug, str(error)))
        return
    except Exception as error:  # noqa: BLE001 - the caller waits for an end, whatever the upstream said
        log_failure("ui_task_broke", error)
        log.publish(Failed(ModelUnavailable.slug, str(ModelUnavailable())))
        return
    completion = answer.completion
    spent = round((monotonic() - began) * 1000)
    log.publish(TextDelta(storable(answer.text)), Finished(completion.reason, completion.usage, spent, spent))
