"""Sends an answer frame by frame, or as one object. A client that leaves early stops reading the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

from litestar import Request
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from coach.chat.encoders import PING, ended_properly
from coach.chat.events import Event
from coach.chat.turns import Reader
from coach.http.negotiation import STREAM
from coach.values.background import end

HEADERS = {"content-type": STREAM, "cache-control": "no-cache", "x-accel-buffering": "no"}
T = TypeVar("T")


class Encoder(Protocol):
    """One reader's: it may remember what it has said."""

    def encode(self, event: Event) -> list[bytes]:
        """CompleteAnswer frames, perhaps none."""


def streamed(reader: Reader, encoder: Encoder, headers: dict[str, str]) -> Stream:
    # Close in the background too: if a client leaves before the first byte, the generator never starts.
    left = BackgroundTask(reader.aclose)
    return Stream(frames(reader, encoder), media_type=STREAM, headers=HEADERS | headers, background=left)


async def frames(reader: Reader, encoder: Encoder) -> AsyncGenerator[bytes, None]:
    """One write for all events that wait together."""
    try:
        async with aclosing(ended_properly(reader)) as batches:
            async for batch in batches:
                if not batch:
                    yield PING
                elif data := _encoded(batch, encoder):
                    yield data
    finally:
        await reader.aclose()


def _encoded(batch: Sequence[Event], encoder: Encoder) -> bytes:
    return b"".join(frame for event in batch for frame in encoder.encode(event))


class ClientLeft(Exception):
    """The client has left."""


async def unless_left(request: Request[Any, Any, Any], reader: Reader, work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` while the client is connected. Otherwise the server would not notice that it left.

    :raises ClientLeft: before the work was done.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        await end((working, leaving))
        await reader.aclose()


async def _left(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
