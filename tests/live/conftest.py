"""The real server on a real socket and a real database, and people who talk to it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
import uvloop

from coach.app import run_app
from coach.identity.tokens import mint
from coach.server import address_of, listen, protocols
from coach.settings import Settings, load_settings
from tests.live.processes import CoachProcess

SECRET = "the shared secret of the tests, long enough"


@pytest.fixture(scope="module")
def coach_settings(database_url: str) -> Settings:
    """Override in a module for other settings."""
    return load_settings(database_url=database_url, jwt_secret=SECRET)


@pytest.fixture(scope="module")
def coach_url(coach_settings: Settings) -> Iterator[str]:
    """A running server, in a thread of this process."""
    with serving(coach_settings) as url:
        yield url


@contextmanager
def serving(settings: Settings, **options: Any) -> Iterator[str]:
    """A server in a thread of this process; its address while inside."""
    listener = listen("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        async with run_app(settings, **options) as app:
            servers.append(uvicorn.Server(protocols(app.asgi, settings)))
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=uvloop.run, args=(serve(),))
    thread.start()
    until(lambda: bool(servers and servers[0].started) or not thread.is_alive())
    assert [each.started for each in servers] == [True], "the server did not start"
    yield address_of(listener)
    servers[0].should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not stop"


def until(happened: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def eventually(happens: Callable[[], Awaitable[object]], seconds: float = 60.0) -> None:
    """The same, of what has to be waited for each time."""
    deadline = time.monotonic() + seconds
    while not await happens():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@dataclass
class ServerProcess:
    """``coach serve`` as an operator runs it."""

    process: CoachProcess
    log: Path

    @property
    def url(self) -> str:
        address: str = self.lines("serving")[0]["address"]
        return address

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if not event or line["event"] == event]

    def stop(self, which: int) -> int:
        self.process.send_signal(which)
        return self.process.wait(40)


StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start_server(database_url: str, tmp_path: Path) -> Iterator[StartServer]:
    """``start_server(workers=2, COACH_DRAIN_GRACE="1")``: a server process of this test's own."""
    with starting(database_url, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """The same for all tests of a module, where none of them minds what the others did to it."""
    with starting(database_url, tmp_path_factory.mktemp("servers")) as start:
        yield start


@contextmanager
def starting(database_url: str, folder: Path) -> Iterator[StartServer]:
    started: list[ServerProcess] = []

    def start(*options: str, workers: int = 1, **environment: str) -> ServerProcess:
        log = folder / f"server-{len(started)}.log"
        log.touch()
        settings = os.environ | {"COACH_DATABASE_URL": database_url, "COACH_JWT_SECRET": SECRET} | environment
        command = ["serve", "--port", "0", "--workers", str(workers), *options]
        # What PYTHONPATH brings along comes before the modules. Siblings share their figures only where each imports
        # the metrics after it was told of the others.
        is_anew = workers > 1 or "PYTHONPATH" in environment
        process = CoachProcess(command, settings, log, is_anew=is_anew)
        server = ServerProcess(process, log)
        started.append(server)
        until(lambda: len(server.lines("serving")) == workers or process.poll() is not None)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def token_for() -> Callable[..., str]:
    """``token_for(user_id, ttl=…, role=…)``."""

    def make(user_id: UUID | None, **claims: Any) -> str:
        return mint(SECRET, sub=user_id, **({"ttl": timedelta(hours=1)} | claims))

    return make


@pytest.fixture
async def client(coach_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=coach_url, timeout=30) as client:
        yield client


@dataclass
class Answer:
    """What came back on a question, stream or problem."""

    status: int
    headers: httpx.Headers
    body: bytes
    parts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part["delta"] for part in self.parts if part["type"] == "text-delta")

    @property
    def problem(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def first(self, kind: str) -> dict[str, Any]:
        return next(part for part in self.parts if part["type"] == kind)


@dataclass
class ApiUser:
    """Somebody with an account, at the server's door."""

    user_id: UUID
    client: httpx.AsyncClient
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def asks(self, text: str, *, headers: dict[str, str] | None = None, **body: Any) -> Answer:
        """One question in the AI SDK's form; ``message_id`` names the message, the rest goes into the body."""
        message = {"role": "user", "parts": [{"type": "text", "text": text}]}
        if "message_id" in body:
            message["id"] = body.pop("message_id")
        response = await self.client.post(
            "/api/chat", json={"messages": [message], **body}, headers=self.headers | (headers or {})
        )
        return answer_of(response)

    async def gets(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers=self.headers)


def answer_of(response: httpx.Response) -> Answer:
    answer = Answer(response.status_code, response.headers, response.content)
    if response.headers.get("content-type") == "text/event-stream":
        answer.parts = parts_of(response.text)
    return answer


def parts_of(stream: str) -> list[dict[str, Any]]:
    """The parts of a whole stream, which must end as the protocol says."""
    events = [event for event in stream.split("\n\n") if event and not event.startswith(":")]
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


@pytest.fixture
async def person(
    client: httpx.AsyncClient, new_user: Callable[[], Awaitable[UUID]], token_for: Callable[..., str]
) -> Callable[[], Awaitable[ApiUser]]:
    """``await person()``: somebody new."""

    async def make() -> ApiUser:
        user_id = await new_user()
        return ApiUser(user_id, client, token_for(user_id))

    return make


@pytest.fixture
async def ann(person: Callable[[], Awaitable[ApiUser]]) -> ApiUser:
    return await person()
