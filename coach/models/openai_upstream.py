"""One running answer of an OpenAI-compatible endpoint: its HTTP stream, its clocks, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from coach.errors import ModelUnavailable
from coach.models.base import Delta, FinishReason, Reasoning, Usage
from coach.models.openai_failures import BROKEN, Refused, Transient
from coach.models.openai_wire import AnswerReader
from coach.models.timeouts import Timeouts

# How long the usage and [DONE] may take once the text is whole; the user has it already and waits for nothing.
_TAIL = 2.0


Pieces = list[Delta | Reasoning]


class Upstream:
    """Reads the pieces of one response."""

    def __init__(
        self, chunks: AsyncGenerator[bytes, None], timeouts: Timeouts, deadline: float, *, is_unopened: bool = False
    ) -> None:
        self._chunks = chunks
        self._timeouts = timeouts
        self._deadline = deadline
        self._reader = AnswerReader(is_unopened=is_unopened)

    @property
    def reason(self) -> FinishReason:
        return self._reader.reason or "other"

    @property
    def is_unopened(self) -> bool:
        return self._reader.is_unopened

    @property
    def usage(self) -> Usage | None:
        return self._reader.usage

    async def first(self, clock: asyncio.Timeout) -> Pieces:
        """The first pieces; none where the model finished without any. The caller's ``clock`` bounds it.

        :raises Refused: the endpoint told an error
        :raises Transient: where garbage or the end came instead
        """
        while not self._reader.is_done:
            pieces = await self._next_pieces()
            if pieces:
                return pieces
            if self._reader.complaint:
                raise Refused(None, self._reader.complaint)
            if self._reader.failure is not None:
                raise Transient(self._reader.failure)
            if self._reader.is_alive:
                self._reader.is_alive = False
                clock.reschedule(self._until(self._timeouts.first_token))
        return []

    async def read(self) -> Pieces:
        """The next pieces, or none when the answer is whole.

        :raises ModelUnavailable: where it broke off, turned to garbage, or stalled
        """
        while not self._reader.is_done:
            if self._reader.failure is not None:
                raise ModelUnavailable(self._reader.failure)
            try:
                async with asyncio.timeout_at(self._patience()):
                    pieces = await self._next_pieces()
            except TimeoutError:
                if self._reader.may_be_complete:
                    return []
                raise ModelUnavailable(
                    "The language model fell silent in the middle of its answer; try again."
                ) from None
            if pieces:
                return pieces
        return []

    async def drain(self) -> None:
        """Read what is left behind ``[DONE]``, so that the connection can serve again."""
        try:
            async with asyncio.timeout(_TAIL):
                while await self._next_chunk():
                    pass
        except (TimeoutError, *BROKEN):
            return

    def _until(self, seconds: float) -> float:
        return min(asyncio.get_running_loop().time() + seconds, self._deadline)

    def _patience(self) -> float:
        if self._reader.is_complete:
            return self._until(_TAIL)
        return self._until(self._timeouts.between_tokens if self._reader.has_text else self._timeouts.first_token)

    async def _next_pieces(self) -> Pieces:
        """What the next bytes bring, whether the connection ended in order or was cut."""
        try:
            data = await self._next_chunk()
        except BROKEN:
            return self._reader.end(is_cut=True)
        return self._reader.end() if data is None else self._reader.feed(data)

    async def _next_chunk(self) -> bytes | None:
        return await anext(self._chunks, None)
