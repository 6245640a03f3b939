"""A whole answer at once: what is read of it, and that a silent or empty model is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from coach.errors import ModelUnavailable
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, Completion, Delta, ModelOptions, Reasoning, Usage
from coach.models.whole import LONGEST, ask_model_once

QUESTION = [ChatMessage("user", "A title, please.")]
END = Completion("stop", Usage(3, 2), "made-up")


class MadeUp:
    """Says these pieces; ``None`` is an endless silence."""

    name, context_tokens = "made-up", 1_000

    def __init__(self, *pieces: str | Reasoning | None) -> None:
        self._pieces = pieces
        self.is_closed = False
        self.options: ModelOptions | None = None

    async def stream(
        self, _messages: object, options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Delta | Reasoning | Completion, None]:
        self.options = options
        try:
            for piece in self._pieces:
                if piece is None:
                    await asyncio.sleep(60)
                else:
                    yield Delta(piece) if isinstance(piece, str) else piece
            yield END
        finally:
            self.is_closed = True

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("Knee ", "and race"), "Knee and race"),
        ((Reasoning("Six words?"), "Knee"), "Knee"),
        (("x" * LONGEST,), "x" * LONGEST),
    ],
)
async def test_it_is_the_answer_without_its_thoughts(pieces: tuple[str | Reasoning, ...], text: str) -> None:
    options = ModelOptions(max_tokens=20)
    model = MadeUp(*pieces)
    answer = await ask_model_once(model, QUESTION, options, within=1)
    assert (answer.text, answer.completion, model.options) == (text, END, options)


async def test_what_comes_after_the_longest_is_not_read() -> None:
    model = MadeUp("x" * LONGEST, "y", "z" * 1_000)

    answer = await ask_model_once(model, QUESTION, within=1)

    assert (answer.text, answer.completion.reason) == ("x" * LONGEST, "length")
    assert model.is_closed


@pytest.mark.parametrize("pieces", [(), (" \n",), (Reasoning("Nothing to say"),)])
async def test_an_empty_answer_is_none(pieces: tuple[str | Reasoning, ...]) -> None:
    with pytest.raises(ModelUnavailable, match="empty"):
        await ask_model_once(MadeUp(*pieces), QUESTION, within=1)


async def test_a_model_that_takes_too_long_is_let_go_of() -> None:
    model = MadeUp("Knee", None)
    with pytest.raises(ModelUnavailable, match=r"longer than 0\.05 s"):
        await ask_model_once(model, QUESTION, within=0.05)
    assert model.is_closed
