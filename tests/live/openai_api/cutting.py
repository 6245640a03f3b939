"""A network that breaks: a proxy which drops its first connections once their request has become a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tests.live.conftest import eventually


class CuttingProxy:
    """``url`` is where to connect; ``cuts`` how many answers are lost; ``connections`` what was seen.

    ``turns`` says how many turns there were so far.
    """

    def __init__(self, target: str, cuts: int = 1, turns: Callable[[], int] = lambda: 0) -> None:
        address = urlsplit(target)
        self._host, self._port, self._turns = address.hostname, address.port, turns
        self.cuts, self.connections, self.url = cuts, 0, ""

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        cuts = self.connections <= self.cuts
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        up = asyncio.create_task(copied(reader, up_writer))
        try:
            await self.answer(up_reader, writer, is_cut=cuts)
        finally:
            up.cancel()
            for each in (writer, up_writer):
                each.close()

    async def answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_cut: bool) -> None:
        if not is_cut:
            await copied(source, sink)
            return
        before = self._turns()

        async def begun() -> bool:
            return self._turns() > before

        await eventually(begun)
        await asyncio.sleep(0.3)  # a slow turn is then cut before, a quick one after its answer


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
