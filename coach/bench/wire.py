"""A client of almost no cost of its own, so that what is measured is the server: one request a connection, by hand."""

from __future__ import annotations

import asyncio
from time import perf_counter

from msgspec import Struct

LONGEST = 60.0
"""Seconds; a bench ends by itself."""


class Timing(Struct, frozen=True):
    """Milliseconds from sending to the first text and to the end; ``status`` is HTTP's."""

    status: int
    first_ms: float
    total_ms: float


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
