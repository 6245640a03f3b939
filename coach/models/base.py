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
    """What a call may tune; ``None`` leaves the model's default.

    ``is_ours``: nobody asked for them, our prompts suggest them. A model leaves out what its provider refuses, and
    ``max_tokens`` is then the length of the answer alone: the model adds room to think.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    is_ours: bool = False


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


class Reasoning(Struct, frozen=True):
    """The next piece of what the model thinks aloud; never empty. It is no part of the answer, nor of any memory."""

    text: str


class Loading(Struct, frozen=True):
    """Nothing has come yet, and the model seems to be loading. At most once a stream, before everything else."""


class Completion(Struct, frozen=True):
    """The last thing a stream yields. ``model`` is the one that answered, which may be a fallback."""

    reason: FinishReason
    usage: Usage
    model: str


Piece = Delta | Reasoning | Loading | Completion


class ChatModel(Protocol):
    """A language model that streams.

    ``stream`` yields ``Delta`` after ``Delta`` and then exactly one ``Completion``. ``Loading`` may stand at the
    beginning and ``Reasoning`` anywhere before the end. It raises ``ModelUnavailable``
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
    ) -> AsyncGenerator[Piece, None]: ...

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text``, exact where the encoding is at hand, else an upper bound."""

    async def aclose(self) -> None:
        """Let go of connections."""
