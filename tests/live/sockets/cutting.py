"""A network that breaks in the middle of an answer."""

from __future__ import annotations

import asyncio

from tests.live.openai_api.cutting import CuttingProxy, copied


class BreakingProxy(CuttingProxy):
    """Lets its first connections have the beginning of their answer, then drops them without a word."""

    ENOUGH = 0.6

    async def answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_cut: bool) -> None:
        if not is_cut:
            await copied(source, sink)
            return
        try:
            async with asyncio.timeout(self.ENOUGH):
                await copied(source, sink)
        except TimeoutError:
            sink.transport.abort()
