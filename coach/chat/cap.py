"""How long an answer may become. Past its cap the model is no longer read, and the answer ends with ``length``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TypeVar

from msgspec import Struct

from coach.chat.prompt import CountTokens, Prompt
from coach.models.base import Completion, Delta, Piece, Reasoning, Usage
from coach.models.tokens import MESSAGE_OVERHEAD
from coach.values.text import storable

T = TypeVar("T", Delta, Reasoning)

SLICE = 2_048
"""Characters that readers are told of at once: between two slices of one huge piece the others get their turn."""

SLICES_BETWEEN_PAUSES = 16
"""Of many small pieces that came at once, such as a thought after each word."""


class AnswerCap(Struct, frozen=True):
    """What an answer and the reasoning before it may have together."""

    tokens: int = 32_000
    bytes: int = 256_000


class Meter:
    """Counts what has come. A token has at least one byte, so tokens are counted only where the bytes may exceed them:
    once for each text, and seldom."""

    def __init__(self, cap: AnswerCap, count: CountTokens) -> None:
        self._cap, self._count = cap, count
        self._bytes = self._tokens = self._uncounted_bytes = 0
        self._uncounted: list[str] = []

    @property
    def tokens(self) -> int:
        """Of all that has come, as far as slices tell."""
        self._tokens += self._count("".join(self._uncounted))
        self._uncounted, self._uncounted_bytes = [], 0
        return self._tokens

    def take(self, text: str) -> str:
        """The beginning of ``text`` that fits; empty where the cap is reached."""
        encoded = text.encode()
        left = self._cap.tokens - self._tokens - self._uncounted_bytes
        if left < len(encoded):
            left = self._cap.tokens - self.tokens
            if self._count(text) <= left:
                left = len(encoded)
        room = max(0, min(self._cap.bytes - self._bytes, left))
        taken = text if len(encoded) <= room else encoded[:room].decode(errors="ignore")
        self._uncounted.append(taken)
        self._uncounted_bytes += (size := min(len(encoded), room))
        self._bytes += size
        return taken


async def capped(
    pieces: AsyncIterable[Piece], cap: AnswerCap, prompt: Prompt, model: str, count: CountTokens
) -> AsyncGenerator[Piece, None]:
    """``pieces`` in slices and of text that can be stored. At the cap a completion of ours takes the place of the
    model's; ``model`` is its name, ``count`` counts its tokens."""
    meter, told = Meter(cap, count), 0
    async for piece in pieces:
        if not isinstance(piece, Delta | Reasoning):
            yield piece
            continue
        at, whole = 0, len(piece.text)
        while at < whole:
            taken = meter.take(storable(piece.text[at : at + SLICE]))
            if not taken:
                asked = sum(count(message.content) + MESSAGE_OVERHEAD for message in prompt.messages)
                yield Completion("length", Usage(asked, meter.tokens, counted=True), model)
                return
            yield type(piece)(taken)
            at, told = at + len(taken), told + 1
            if at < whole or told % SLICES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
