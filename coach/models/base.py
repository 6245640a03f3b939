"""The seam to language models: what a turn asks of any of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "content-filter", "error", "other"]


class ChatMessage(Struct, frozen=True):
    """One message of a prompt. A message with the role ``system`` never holds a user's text."""

    role: Role
    content: str


class ModelOptions(Struct, frozen=True, omit_defaults=True):
    """What a caller may tune; ``None`` leaves the model's default."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


AS_THE_MODEL_LIKES = ModelOptions()


class Usage(Struct, frozen=True):
    """Tokens of one call. ``counted`` is true where the provider sent none and we counted."""

    input_tokens: int
    output_tokens: int
    counted: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Delta(Struct, frozen=True):
    """The next piece of the answer; never empty."""

    text: str


class Completion(Struct, frozen=True):
    """The last thing a stream yields. ``model`` is the one that answered, which may be a fallback."""

    reason: FinishReason
    usage: Usage
    model: str


class ChatModel(Protocol):
    """A language model that streams.

    ``stream`` yields ``Delta`` after ``Delta`` and then exactly one ``Completion``. It raises ``ModelUnavailable``
    where no (further) usable answer came; its message may be shown to the user, so it names no secret and no address.
    Closing the generator closes the upstream connection.
    """

    @property
    def name(self) -> str:
        """As it stands in ``ai_interactions``, for example ``offline`` or ``gpt-4o-mini``."""

    @property
    def context_tokens(self) -> int:
        """How many tokens a prompt and its answer may have together."""

    def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Delta | Completion, None]: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text``, exact where the encoding is at hand, else an upper bound."""

    async def aclose(self) -> None:
        """Let go of connections."""
