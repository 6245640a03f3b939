"""A language model provider on loopback that speaks OpenAI's wire format, and fails as it is told to.

The tests' upstream and the yardstick of ``coach bench turn``. A plain asyncio protocol: what it costs is not to be
mistaken for what the coach costs. As a process of its own::

    python -m coach.testing.stub_provider --port 0 --tokens 200 --rate 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import uvloop
from msgspec import Struct

from coach.conversations.titles import TASK
from coach.testing.stub_connection import StubConnection
from coach.testing.stub_script import Answer, ChatStep, Embeddings, EmbeddingStep, Script, Status
from coach.testing.stub_wire import Response, chat_response, embedding_response, json_response

_Step = TypeVar("_Step")


class Recorded(Struct, frozen=True):
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class StubProvider:
    """Runs in a thread of its own between ``start`` and ``stop``; every counter may be read from any thread.

    ``ended_at`` is when the last answer was sent or its client had left, by ``time.monotonic``.
    """

    def __init__(self, default: ChatStep | None = None) -> None:
        self._default = default or Answer()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub-provider", daemon=True)
        self._connections: set[StubConnection] = set()
        self.port = self.open_streams = 0
        self.reset()

    def reset(self) -> None:
        """Forget every script and count; what is open stays open, and counted."""
        self.calls = self.embedding_calls = self.title_calls = self.closed_early = 0
        self.ended_at = 0.0
        self.title: ChatStep = Answer(tokens=4)
        self.titles: deque[dict[str, Any]] = deque(maxlen=100)
        self.requests: deque[Recorded] = deque(maxlen=2_000)
        self.refused_parameters: set[str] = set()
        self.poison: bytes | None = None
        self._chat: deque[ChatStep] = deque()
        self._embeddings: deque[EmbeddingStep] = deque()
        self._always: ChatStep = self._default
        self._always_embeddings: EmbeddingStep = Embeddings()
        self.going_on = asyncio.Event()

    def go_on(self) -> None:
        """Say the rest of every answer that is held; none is held any more until ``reset``."""
        self._loop.call_soon_threadsafe(self.going_on.set)

    def will(self, *steps: ChatStep) -> None:
        """Queue what the next chat requests get, one each; after them the default serves again."""
        self._chat.extend(steps)

    def always(self, step: ChatStep) -> None:
        self._always = step

    def embeddings_will(self, *steps: EmbeddingStep) -> None:
        self._embeddings.extend(steps)

    def embeddings_always(self, step: EmbeddingStep) -> None:
        self._always_embeddings = step

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def until(self, condition: Callable[[StubProvider], bool], seconds: float = 30.0) -> None:
        """Wait for something to become true here; what the client did arrives a moment later.

        :raises TimeoutError:
        """
        deadline = time.monotonic() + seconds
        while not condition(self):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the stub still shows {self.stats()}")
            await asyncio.sleep(0.005)

    def stats(self) -> dict[str, int]:
        return {
            "calls": self.calls,
            "embedding_calls": self.embedding_calls,
            "title_calls": self.title_calls,
            "open_streams": self.open_streams,
            "open_connections": self.open_connections,
            "closed_early": self.closed_early,
        }

    def start(self, port: int = 0) -> StubProvider:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Break every connection there is."""
        self._loop.call_soon_threadsafe(self._abort)

    def respond(self, path: str, headers: dict[str, str], raw: bytes) -> Response:
        """What to send for one request."""
        if path.startswith("/_stub/"):
            return Response((self._control(path, raw),))
        body: dict[str, Any] = json.loads(raw or b"{}")
        if is_title(body):
            self.title_calls += 1
            self.titles.append(body)
            return chat_response(self.title, body)
        self.requests.append(Recorded(path, headers, body))
        if path == "/v1/embeddings":
            return self._embed(raw, body)
        if path != "/v1/chat/completions":
            return chat_response(Status(404, message=f"The stub has no {path}."), body)
        self.calls += 1
        refused = sorted(self.refused_parameters & body.keys())
        if refused:
            return chat_response(Status(400, message=f"Unrecognized request argument supplied: {refused[0]}"), body)
        return chat_response(_next(self._chat, self._always), body)

    def _embed(self, raw: bytes, body: dict[str, Any]) -> Response:
        self.embedding_calls += 1
        if self.poison is not None and self.poison in raw:
            return embedding_response(Status(400, message="The stub cannot stomach this."), body)
        return embedding_response(_next(self._embeddings, self._always_embeddings), body)

    def _control(self, path: str, raw: bytes) -> bytes:
        if path == "/_stub/script":
            self.play(msgspec.json.decode(raw, type=Script))
        return json_response(self.stats())

    def play(self, script: Script) -> None:
        if script.reset:
            self.reset()
        if script.go_on:
            self.go_on()
        self.will(*script.chat)
        self.embeddings_will(*script.embeddings)
        self._always = script.always or self._always
        self._always_embeddings = script.always_embeddings or self._always_embeddings
        self.refused_parameters |= set(script.refused_parameters)

    async def _listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._server = await self._loop.create_server(lambda: StubConnection(self), sock=listener, backlog=1024)
        return int(listener.getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        self._abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.transport.abort()

    def opened(self, connection: StubConnection) -> None:
        self._connections.add(connection)

    def lost(self, connection: StubConnection) -> None:
        self._connections.discard(connection)
        if connection.task is not None:
            self.closed_early += 1
            connection.task.cancel()


def is_title(body: dict[str, Any]) -> bool:
    """A name for a conversation, which comes after a turn and would be taken for the next."""
    messages = body.get("messages")
    return isinstance(messages, list) and len(messages) == 1 and str(messages[0].get("content", "")).startswith(TASK)


def _next(queue: deque[_Step], default: _Step) -> _Step:
    return queue.popleft() if queue else default


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for a language model provider, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of an answer")
    parser.add_argument("--rate", type=float, default=0.0, help="tokens a second; 0: all at once")
    chosen = parser.parse_args()
    stub = StubProvider(Answer(tokens=chosen.tokens, rate=chosen.rate)).start(chosen.port)
    print(stub.port, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        stub.stop()


if __name__ == "__main__":
    main()
