"""What a caller of a model ends up with, whichever way the stream ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from msgspec import Struct

from coach.errors import ModelUnavailable
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, ChatModel, Completion, Delta, ModelOptions, Reasoning

ASK = (ChatMessage("system", "You are a coach."), ChatMessage("user", "What next?"))


class Ending(Struct, frozen=True):
    """The text so far, and exactly one of the two ends."""

    text: str
    completion: Completion | None = None
    failure: ModelUnavailable | None = None
    reasoning: str = ""


async def ask(
    model: ChatModel, messages: Sequence[ChatMessage] = ASK, options: ModelOptions = AS_THE_MODEL_LIKES
) -> Ending:
    text, reasoning, completion = "", "", None
    try:
        async with aclosing(model.stream(messages, options)) as events:
            async for event in events:
                assert completion is None, "something came after the completion"
                if isinstance(event, Delta):
                    assert event.text
                    text += event.text
                elif isinstance(event, Reasoning):
                    assert event.text
                    reasoning += event.text
                elif isinstance(event, Completion):
                    completion = event
    except ModelUnavailable as failure:
        assert completion is None, "a failure came after the completion"
        return Ending(text, failure=failure, reasoning=reasoning)
    assert completion is not None, "the stream just stopped"
    return Ending(text, completion, reasoning=reasoning)
