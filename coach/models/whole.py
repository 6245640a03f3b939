"""A whole answer at once, for what the server itself asks a model: names, judgements, summaries, UI tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from msgspec import Struct

from coach.errors import ModelUnavailable
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, ChatModel, Completion, Delta, ModelOptions, Usage

LONGEST = 32_000
"""Characters of an answer; what comes after them is not read."""


class WholeAnswer(Struct, frozen=True):
    """``text`` is never blank, and without what the model thought aloud."""

    text: str
    completion: Completion


async def ask_model_once(
    model: ChatModel,
    messages: Sequence[ChatMessage],
    options: ModelOptions = AS_THE_MODEL_LIKES,
    *,
    within: float,
) -> WholeAnswer:
    """Ask, and wait for the end of the answer. Which model is tried next is for ``FallbackModel``; nothing is repeated.

    :raises ModelUnavailable: no answer, an empty one, or none ``within`` so many seconds.
    """
    said, length = list[str](), 0
    completion: Completion | None = None
    try:
        async with asyncio.timeout(within), aclosing(model.stream(messages, options)) as pieces:
            async for piece in pieces:
                match piece:
                    case Delta(text):
                        said.append(text)
                        length += len(text)
                        if length > LONGEST:
                            completion = Completion("length", Usage(0, 0, counted=True), model.name)
                            break
                    case Completion():
                        completion = piece
    except TimeoutError:
        raise ModelUnavailable(f"The answer took longer than {within:g} s.") from None
    text = "".join(said)[:LONGEST]
    if completion is None or not text.strip():
        raise ModelUnavailable("The model gave an empty answer; try again.")
    return WholeAnswer(text, completion)
