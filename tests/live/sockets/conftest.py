"""A coach in front of a provider stub, and people with sockets to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from coach.settings import Settings, load_settings
from coach.testing.stub_provider import StubProvider
from tests.live.conftest import SECRET, ApiUser
from tests.stub.fixtures import asking


@pytest.fixture(scope="module")
def coach_settings(database_url: str, provider: StubProvider) -> Settings:
    return load_settings(
        database_url=database_url,
        jwt_secret=SECRET,
        **asking(provider),
        answer_max_bytes=10_000_000,
        answer_max_tokens=10_000_000,
    )


class Wire:
    """One socket, by its frames."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def sends(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def asks(self, request_id: str, text: str = "How is it going?", **more: Any) -> None:
        """A ``send`` frame as the stock client writes it."""
        message = {"id": more.pop("message_id", f"m-{request_id}"), "role": "user"}
        frame = {"id": "c1", "trigger": "submit-message", "headers": {}, "body": {}, **more}
        await self.sends(
            type="send", requestId=request_id, messages=[message | {"parts": [{"type": "text", "text": text}]}], **frame
        )

    async def hears(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), 20))
        return frame

    async def until(self, happened: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The frames up to the first that is meant."""
        frames = [await self.hears()]
        while not happened(frames[-1]):
            frames.append(await self.hears())
        return frames

    async def answer(self, *request_ids: str) -> dict[str, list[dict[str, Any]]]:
        """The frames of these requests, each up to its last."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in request_ids}
        open_ = set(request_ids)
        while open_:
            frame = await self.hears()
            if frame["requestId"] in found:
                found[frame["requestId"]].append(frame)
            if frame["type"] in ("end", "error", "no-active"):
                open_.discard(frame["requestId"])
        return found

    async def push(self, kind: str) -> dict[str, Any]:
        return (await self.until(lambda f: f["requestId"] == "$push" and f["type"] == kind))[-1]

    async def closed(self) -> tuple[int, str]:
        """Its close code and reason, once it was closed."""
        try:
            async with asyncio.timeout(30):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as gone:
            said = gone.rcvd
        assert said is not None, "the connection broke without a close frame"
        return said.code, said.reason


def text_of(frames: list[dict[str, Any]]) -> str:
    chunks = [frame["chunk"] for frame in frames if frame["type"] == "chunk"]
    return "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")


def problem_of(frame: dict[str, Any]) -> dict[str, Any]:
    assert frame["type"] == "error", frame
    found: dict[str, Any] = json.loads(frame["errorText"])
    return found


Opens = Callable[..., Awaitable[Wire]]


@pytest.fixture
async def opens(coach_url: str) -> AsyncIterator[Opens]:
    """``await opens(ann)``: a socket of hers; ``token=``, ``ticket=``, ``origin=`` and ``url=`` as wanted."""
    async with AsyncExitStack() as stack:

        async def make(person: ApiUser | None = None, *, ticket: str | None = None, **options: Any) -> Wire:
            url = options.pop("url", coach_url).replace("http", "ws", 1) + "/ws/chat"
            token = options.pop("token", None if person is None else person.token)
            if ticket is not None:
                url += f"?ticket={ticket}"
            elif token is not None:
                options.setdefault("subprotocols", ["coach.v1", token])
            return Wire(await stack.enter_async_context(connect(url, **options)))

        yield make
