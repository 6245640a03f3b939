"""A server whose embedded database is killed: it is back soon, and the end is as clean as ever."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from coach.database.embedded import EmbeddedServer
from coach.testing.stub_script import Answer
from tests.live.conftest import ServerProcess, StartServer, eventually, parts_of, until
from tests.live.test_demo import databases_of

BACK_WITHIN = 10.0


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ckill-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "home"
    for process in databases_of(folder):
        process.send_signal(signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(start_server: StartServer, home: Path, model_stub):
    def begin() -> ServerProcess:
        return start_server(
            COACH_HOME=str(home),
            COACH_DATABASE_URL="",
            COACH_OPENAI_BASE_URL=model_stub.url,
            COACH_OPENAI_API_KEY="stub",
            COACH_CHAT_MODEL="stub",
            COACH_EMBEDDING_MODEL="wordllama",
        )

    return begin


def question(text: str) -> dict:
    return {
        "id": uuid4().hex,
        "messages": [{"id": uuid4().hex, "role": "user", "parts": [{"type": "text", "text": text}]}],
    }


async def test_a_killed_database_is_back_soon_and_everything_reconnects(start, home, model_stub, token_for):
    server, user = start(), uuid4()
    with psycopg.connect(EmbeddedServer(home).url(), autocommit=True) as owner:
        owner.execute("insert into auth.users (id) values (%s)", (user,))
    headers = {"authorization": f"Bearer {token_for(user)}"}
    model_stub.always(Answer(text="One step at a time. " * 10, held_after=3))

    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        under_way = asyncio.create_task(client.post("/api/chat", json=question("Hello?")))
        await model_stub.until(lambda stub: stub.open_streams == 1)
        for process in databases_of(home):
            process.kill()
        killed = time.monotonic()
        await asyncio.to_thread(until, lambda: server.lines("embedded_database_had_died"))
        await eventually(lambda: is_ready(client))
        assert time.monotonic() - killed < BACK_WITHIN
        model_stub.go_on()

        # Its text was in memory, so the turn goes on; it may not be lost without a word.
        ended = parts_of((await under_way).text)
        assert ended[-1]["type"] == "finish"
        model_stub.always(Answer(text="Back."))
        assert "Back." in (await client.post("/api/chat", json=question("Again?"))).text
        assert (await client.get("/api/me/quota")).json()["used"] == 2
        with psycopg.connect(EmbeddedServer(home).url(), autocommit=True) as owner:
            owner.execute("insert into pillars (user_id, name) values (%s, 'Mountaineering')", (user,))

        async def is_found() -> bool:
            """By the worker, which heard of it and embedded it."""
            return "Mountaineering" in (await client.get("/api/search", params={"q": "Mountaineering"})).text

        await eventually(is_found)
        assert (await client.get("/api/me/pipeline")).json()["failed"] == 0
    assert len(server.lines("embedded_database_had_died")) == 1
    assert await asyncio.to_thread(server.stop, signal.SIGINT) == 0
    assert databases_of(home) == []

    again = start()
    async with httpx.AsyncClient(base_url=again.url) as client:
        assert await is_ready(client)
    assert await asyncio.to_thread(again.stop, signal.SIGINT) == 0
    assert databases_of(home) == []


async def test_a_turn_that_ends_while_it_is_gone_says_so_and_costs_nothing(start, home, model_stub, token_for):
    server, user = start(), uuid4()
    with psycopg.connect(EmbeddedServer(home).url(), autocommit=True) as owner:
        owner.execute("insert into auth.users (id) values (%s)", (user,))
    model_stub.always(Answer(text="One step at a time. " * 10, held_after=3))
    headers = {"authorization": f"Bearer {token_for(user)}"}

    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        under_way = asyncio.create_task(client.post("/api/chat", json=question("Hello?")))
        await model_stub.until(lambda stub: stub.open_streams == 1)
        with unable_to_start(home):
            for process in databases_of(home):
                process.kill()
            await asyncio.to_thread(until, lambda: server.lines("embedded_database_is_dead"))
            model_stub.go_on()
            ended = parts_of((await under_way).text)
            assert ended[-1]["type"] == "error"
            assert "could not be stored" in ended[-1]["errorText"]

        await eventually(lambda: is_ready(client))

        async def is_refunded() -> bool:
            return (await client.get("/api/me/quota")).json()["remaining"] == 250

        await eventually(is_refunded)
    assert await asyncio.to_thread(server.stop, signal.SIGINT) == 0
    assert databases_of(home) == []


@contextmanager
def unable_to_start(home: Path) -> Iterator[None]:
    needed = home / "postgres" / "global"
    aside = needed.rename(needed.with_name("aside"))
    yield
    aside.rename(needed)


async def is_ready(client: httpx.AsyncClient) -> bool:
    return (await client.get("/health/ready")).status_code == 200
