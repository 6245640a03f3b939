"""A network that breaks in the middle of an answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

from tests.live.openai_api.cutting import CuttingProxy, copied


class BreakingProxy(CuttingProxy):
    """Lets its first connections have the beginning of their answer, then drops them without a word."""

    async def answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_cut: bool) -> None:
        if not is_cut:
            await copied(source, sink)
            return
        told = b""
        while b'"text-delta"' not in told and (data := await source.read(65_536)):
            told += data
            sink.write(data)
            await sink.drain()
        await asyncio.sleep(0.1)  # for the client to read it
        sink.transport.abort()


class FreezingProxy(CuttingProxy):
    """Carries everything until ``frozen`` is set; then what either side sends is lost, and nobody is told.

    ``cut_after`` is how long the server has borne that, in seconds, once it has hung up.
    """

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.frozen, self.hung_up = asyncio.Event(), asyncio.Event()
        self.cut_after = 0.0
        self._frozen_at = 0.0

    def freeze(self) -> None:
        self._frozen_at = monotonic()
        self.frozen.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        there = asyncio.create_task(self._carry(reader, up_writer))
        with suppress(ConnectionError):
            await self._carry(up_reader, writer)
        self.cut_after = monotonic() - self._frozen_at
        self.hung_up.set()
        there.cancel()
        for each in (writer, up_writer):
            each.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            if not self.frozen.is_set():
                sink.write(data)
                await sink.drain()
