"""A client of almost no cost of its own, so that what is measured is the server: one request a connection, by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import quantiles
from time import perf_counter
from uuid import uuid4

import msgspec
from msgspec import Struct

LONGEST = 60.0
"""Seconds; a bench ends by itself."""


class Timing(Struct, frozen=True):
    """Milliseconds from sending to the first text and to the end; ``status`` is HTTP's."""

    status: int
    first_ms: float
    total_ms: float


def percentiles(values: Sequence[float]) -> list[float]:
    """The 1st to the 99th. Of one value each is that value, and of none it is infinite."""
    return quantiles(values, n=100, method="inclusive") if len(values) > 1 else [*values, float("inf")][:1] * 99


def question(text: str, conversation: str = "", **frame: str) -> bytes:
    """A message in the AI SDK's form, in a new conversation where none is named; a ``frame`` of a socket has more."""
    message = {"id": uuid4().hex, "role": "user", "parts": [{"type": "text", "text": text}]}
    return msgspec.json.encode({"id": conversation or uuid4().hex, "messages": [message], **frame})


async def ask_coach(port: int, token: str, text: str, *, longest: float = LONGEST, needs: bytes = b"") -> Timing:
    """A turn of this user's, streamed; errors as of ``ask``."""
    headers = {"Authorization": f"Bearer {token}"}
    return await ask(port, "/api/chat", question(text), headers, b'"text-delta"', longest=longest, needs=needs)


async def ask(
    port: int,
    path: str,
    body: bytes,
    headers: dict[str, str],
    marker: bytes,
    *,
    longest: float = LONGEST,
    needs: bytes = b"",
) -> Timing:
    """POST ``body`` to loopback and read to the end; ``marker`` is what the first text looks like in the stream.

    :raises RuntimeError: the answer ended without it, or without what it ``needs`` near its end.
    """
    head = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Connection": "close"} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    request = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(longest):
            return await _read(reader, writer, request, (marker, needs), path)
    finally:
        writer.close()


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, told: tuple[bytes, bytes], path: str
) -> Timing:
    marker, needs = told
    began = perf_counter()
    writer.write(request)
    status, first, seen = 0, 0.0, b""
    while chunk := await reader.read(65_536):
        status = status or int(chunk.split(b" ", 2)[1])
        seen = (seen[-512:] if first else seen) + chunk
        if not first and marker in seen:
            first = (perf_counter() - began) * 1000
        if b"[DONE]" in seen:
            break  # not every server heeds `Connection: close`
    total = (perf_counter() - began) * 1000
    if not first or needs not in seen:
        raise RuntimeError(f"{path} answered {status} without a text: {seen[-300:]!r}")
    return Timing(status, first, total)
