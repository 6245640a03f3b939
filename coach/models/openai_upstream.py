"""One running answer of an OpenAI-compatible endpoint: its HTTP stream, its clocks, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import httpx2
from msgspec import Struct

from coach.errors import ModelUnavailable
from coach.models.base import FinishReason, Usage
from coach.models.openai_failures import Transient
from coach.models.openai_wire import AnswerReader

# How long the usage and [DONE] may take once the text is whole; the user has it already and waits for nothing.
_TAIL = 2.0


class Timeouts(Struct, frozen=True):
    """Seconds. ``first_token`` begins anew when a model shows that it reasons; ``total`` counts retries in."""

    connect: float = 10.0
    first_token: float = 30.0
    between_tokens: float = 20.0
    total: float = 600.0


PATIENT = Timeouts()


class Upstream:
    """Reads the text of one response. Closed before its end, it takes the connection with it."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], timeouts: Timeouts, deadline: float) -> None:
        self._chunks = chunks
        self._timeouts = timeouts
        self._deadline = deadline
        self._reader = AnswerReader()
        self._resources = AsyncExitStack()

    @property
    def reason(self) -> FinishReason:
        return self._reader.reason or "other"

    @property
    def usage(self) -> Usage | None:
        return self._reader.usage

    def own(self, resources: AsyncExitStack) -> None:
        """What ``aclose`` closes from now on: the chunks and their response."""
        self._resources = resources

    async def first(self, clock: asyncio.Timeout) -> str:
        """The first text. The caller's ``clock`` bounds it.

        :raises Transient: where garbage, an error or the end came instead
        :raises ModelUnavailable: where the model finished without a word
        """
        while not self._reader.is_done:
            data = await self._next_chunk()
            text = self._feed(data)
            if text:
                return text
            if self._reader.failure is not None:
                raise Transient(self._reader.failure)
            if self._reader.is_thinking:
                loop = asyncio.get_running_loop()
                clock.reschedule(min(loop.time() + self._timeouts.first_token, self._deadline))
        if self._reader.reason == "content-filter":
            raise ModelUnavailable("The language model's content filter withheld the answer.")
        raise ModelUnavailable("The language model gave an empty answer; try again.")

    async def read(self) -> str:
        """The next text, or "" when the answer is whole.

        :raises ModelUnavailable: where it broke off, turned to garbage, or stalled
        """
        while not self._reader.is_done:
            if self._reader.failure is not None:
                raise ModelUnavailable(self._reader.failure)
            try:
                async with asyncio.timeout_at(self._patience()):
                    data = await self._next_chunk()
            except TimeoutError:
                if self._reader.is_complete:
                    return ""
                raise ModelUnavailable(
                    "The language model fell silent in the middle of its answer; try again."
                ) from None
            text = self._feed(data)
            if text:
                return text
        return ""

    async def drain(self) -> None:
        """Read what is left behind ``[DONE]``, so that the connection can serve again."""
        try:
            async with asyncio.timeout(_TAIL):
                while await self._next_chunk() is not None:
                    pass
        except TimeoutError:
            return

    async def aclose(self) -> None:
        await self._resources.aclose()

    def _patience(self) -> float:
        seconds = _TAIL if self._reader.is_complete else self._timeouts.between_tokens
        return min(asyncio.get_running_loop().time() + seconds, self._deadline)

    def _feed(self, data: bytes | None) -> str:
        if data is not None:
            return self._reader.feed(data)
        self._reader.end()
        return ""

    async def _next_chunk(self) -> bytes | None:
        """Bytes, or ``None`` once there are no more, whether the connection ended in order or was cut."""
        try:
            return await anext(self._chunks, None)
        except httpx2.HTTPError:
            return None
