"""What benches run against: the provider stub, a database with lives in it, and a real server process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from httpx import AsyncClient
from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.identity.tokens import mint
from coach.testing.scratch import scratch
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Script

_sql = load("bench")

SECRET = "only-for-the-bench-" + "x" * 32
MODEL = "stub-model"
TICKS = os.sysconf("SC_CLK_TCK")


class Rig(Struct):
    """Where it lies, ports, one token a user, and how to read the server's CPU time."""

    home: Path
    stub_port: int
    port: int
    server_pid: int
    tokens: list[str]

    def server_cpu(self) -> float:
        """CPU seconds of the server process so far."""
        fields = Path(f"/proc/{self.server_pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self) -> int:
        """KiB of the server process that stand in memory."""
        status = Path(f"/proc/{self.server_pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    async def answer(self, tokens: int, rate: float) -> None:
        """From now on the stub answers so many words, ``rate`` a second (0: at once)."""
        script = Script(always=Answer(tokens=tokens, rate=rate))
        async with AsyncClient() as client:
            await client.post(f"http://127.0.0.1:{self.stub_port}/_stub/script", content=msgspec.json.encode(script))


@asynccontextmanager
async def rig(
    users: int,
    tokens: int,
    rate: float,
    progress: Callable[[str], None],
    *,
    has_lives: bool = True,
    turns_at_once: int = 8,
) -> AsyncIterator[Rig]:
    """Everything started, and stopped again. The stub answers ``tokens`` words, ``rate`` a second (0: at once).

    Without ``has_lives`` the users have accounts, and nothing in them.
    """
    async with scratch("coach-bench-") as place:
        progress(f"loading {users} lives" if has_lives else f"making {users} accounts")
        people = await (lives if has_lives else newcomers)(place.owner, users)
        with (
            _stub(tokens, rate) as stub_port,
            server(place.home, _provider(stub_port) | {"COACH_TURNS_AT_ONCE": str(turns_at_once)}) as (pid, port),
        ):
            progress("waiting for the worker inside, which begins with their lives")
            await _idle(place.owner)
            yield Rig(place.home, stub_port, port, pid, [token_of(user) for user in people])


@contextmanager
def start_second_server(place: Rig) -> Iterator[int]:
    """A second process over the same database; its port while inside."""
    with server(place.home, _provider(place.stub_port), log="second.log") as (_, port):
        yield port


@contextmanager
def _stub(tokens: int, rate: float) -> Iterator[int]:
    command = [sys.executable, "-m", StubProvider.__module__, "--tokens", str(tokens), "--rate", str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
        try:
            yield int(next(iter(process.stdout or ()), "0"))
        finally:
            process.kill()


def _provider(stub_port: int) -> dict[str, str]:
    return {
        "COACH_OPENAI_BASE_URL": f"http://127.0.0.1:{stub_port}/v1",
        "COACH_OPENAI_API_KEY": "stub",
        "COACH_CHAT_MODEL": MODEL,
    }


def token_of(user: UUID) -> str:
    return mint(SECRET, sub=user)


@contextmanager
def server(home: Path, provider: Mapping[str, str], *, log: str = "server.log") -> Iterator[tuple[int, int]]:
    """``coach serve`` over the database of ``home``, a worker inside; its process and port while inside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COACH_", "OPENAI_"))}
    environment = kept | {
        "COACH_HOME": str(home),
        "COACH_JWT_SECRET": SECRET,
        "COACH_EMBEDDING_MODEL": "wordllama",
        "COACH_MONTHLY_LIMIT": "1000000",
        **provider,
    }
    command = [sys.executable, "-m", "coach", "serve", "--port", "0"]
    written = home / log  # a file: a full pipe would block the server
    with written.open("w") as output, subprocess.Popen(command, env=environment, stderr=output, cwd=home) as process:  # noqa: S603 - our own module
        try:
            yield process.pid, _port(process, written)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    while process.poll() is None:
        if found := re.search(r'"http://127\.0\.0\.1:(\d+)".*"serving"', log.read_text()):
            return int(found[1])
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start: {log.read_text()[-500:]}")


async def _idle(db: Database, patience: float = 120.0) -> None:
    """Until nothing waits to be embedded: what is measured next is not to share its core with that."""
    until = time.monotonic() + patience
    while True:
        async with db.as_operator() as tx:
            waiting = await _sql.waiting.value(tx)
        if not waiting or time.monotonic() > until:
            return
        await asyncio.sleep(0.2)


async def newcomers(db: Database, count: int) -> list[UUID]:
    people = [uuid4() for _ in range(count)]
    async with db.as_login_role() as tx:
        await tx.execute("insert into auth.users (id) select unnest(%s::uuid[])", (people,))
    return people


async def lives(db: Database, count: int) -> list[UUID]:
    """Users with the demo user's life each: written once, then copied inside the database."""
    from coach.demo.population import settle
    from coach.retrieval.wordllama import WordllamaEmbedder

    people = await newcomers(db, count)
    await settle(db, WordllamaEmbedder(), people, datetime.now(UTC).date())
    return people
