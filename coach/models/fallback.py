"""Models in the order in which they are asked, until one begins to answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import cached_property

import structlog

from coach.errors import ModelUnavailable
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, ChatModel, Delta, Loading, ModelOptions, Piece

log = structlog.get_logger(__name__)


class FallbackModel:
    """A ``ChatModel`` that goes to the next one as long as no text came; half an answer is never joined to another's.

    The ``Completion`` names the model that answered.
    """

    def __init__(self, name: str, connect: Callable[[], Sequence[ChatModel]]) -> None:
        self.name, self._connect = name, connect

    @cached_property
    def _models(self) -> Sequence[ChatModel]:
        return self._connect()

    @property
    def context_tokens(self) -> int:
        """The smallest of them: the prompt is composed before it is known who answers."""
        return min(model.context_tokens for model in self._models)

    def count_tokens(self, text: str) -> int:
        return self._models[0].count_tokens(text)

    async def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Piece, None]:
        has_come = has_begun = False
        for position, model in enumerate(self._models):
            try:
                async with aclosing(model.stream(messages, options)) as events:
                    async for event in events:
                        has_begun = has_begun or isinstance(event, Delta)
                        if not (has_come and isinstance(event, Loading)):
                            yield event
                        has_come = True
                return
            except ModelUnavailable as error:
                if has_begun or position + 1 == len(self._models):
                    raise
                log.warning(
                    "model.fallback", failed=model.name, tried_next=self._models[position + 1].name, why=str(error)
                )

    async def aclose(self) -> None:
        """Who made the models closes them."""
