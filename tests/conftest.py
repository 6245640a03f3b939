"""A real PostgreSQL for every test that wants one: a fresh cluster a session, a database a module from a template."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import AsyncConnection, sql

from coach.database.embedded import EmbeddedServer
from coach.database.pool import Database

pytest_plugins = ["tests.clients.fixtures", "tests.memory", "tests.stub.fixtures"]

# Compiled once: where nothing compiled is kept, it took each process of the tests 3 s, and each server it starts 1 s.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tokens are counted as bytes, but where their count is tested: tiktoken's table takes each process 70 MB and 0.7 s.
os.environ["TIKTOKEN_CACHE_DIR"] = "/nowhere"
# Nothing here speaks TLS, and to read all the authorities of the world takes each HTTP client 0.03 s: there are none.
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
for variable in [name for name in os.environ if name.startswith(("COACH_", "OPENAI_"))]:
    del os.environ[variable]  # the developer's own settings are not the tests'

# A host that is busy with other things takes its time over one example, or over making one up.
settings.register_profile("any host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any host")

ORDER = (
    "unit/models/test_exact_counts.py",
    "integration/test_benches.py",
    "live/sockets/test_dead_peers.py",
    "live/test_streams.py",
    "live/test_demo.py",
    "integration/pipeline",
    "integration/test_embedded.py",
    "live",
    "web",
    "integration",
)
"""What comes first where processes share the tests: what takes longest, so that none is left with it alone.

The first takes 114 MB, which a process that has grown already has not got.
"""

NewUser = Callable[[], Awaitable[UUID]]

UNBOUND = """
    do $$
    declare
        bound record;
    begin
        for bound in select conrelid::regclass as name, conname from pg_constraint where conname like '%_bound' loop
            execute format('alter table %s drop constraint %I', bound.name, bound.conname);
        end loop;
    end
    $$
"""
"""Whatever a bound lets through one day is to be borne as well. It stays so in the database of the module."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here)
        return next((place for place, first in enumerate(ORDER) if path.is_relative_to(first)), len(ORDER))

    items.sort(key=place)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedServer]:
    """An embedded server of this session's own, without the fsyncs that a test run has no use for."""
    home = Path(tempfile.mkdtemp(prefix="coach-"))
    home.chmod(0o755)
    options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
    with EmbeddedServer(home, options=options) as server:
        yield server
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def template(cluster: EmbeddedServer) -> str:
    """The name of a migrated database that others are copied from."""
    import asyncio

    from coach.database.migrations import migrate

    create_database(cluster, "template_coach")
    asyncio.run(migrate(cluster.url("template_coach")))
    return "template_coach"


@pytest.fixture(scope="module")
def database_name(cluster: EmbeddedServer, template: str) -> Iterator[str]:
    with own_database(cluster, template) as name:
        yield name


@contextmanager
def own_database(cluster: EmbeddedServer, template: str = "template1") -> Iterator[str]:
    """The name of a database that is there while inside."""
    name = f"test_{uuid4().hex[:12]}"
    create_database(cluster, name, template)
    yield name
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def create_database(cluster: EmbeddedServer, name: str, template: str = "template1") -> None:
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )


def acting_as(role: str, user: UUID | str | None = None) -> sql.Composed:
    """What PostgREST says at the start of a transaction."""
    claims = json.dumps({"role": role} | ({} if user is None else {"sub": str(user)}))
    setting = sql.SQL('set local role {}; set local "request.jwt.claims" = {}')
    return setting.format(sql.Identifier(role), sql.Literal(claims))


@pytest.fixture(scope="module")
def database_url(cluster: EmbeddedServer, database_name: str) -> str:
    """As the server logs in."""
    return cluster.url(database_name, role="coach_server")


@pytest.fixture(scope="module")
def worker_url(cluster: EmbeddedServer, database_name: str) -> str:
    """As the worker logs in."""
    return cluster.url(database_name, role="coach_worker")


@pytest.fixture(scope="module")
def owner_url(cluster: EmbeddedServer, database_name: str) -> str:
    """As the migrating superuser, past row level security: for arranging and for looking behind the scenes."""
    return cluster.url(database_name)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def worker_db(worker_url: str) -> AsyncIterator[Database]:
    """As a worker opens it: it may act for everybody."""
    database = Database(worker_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    async with await AsyncConnection.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def new_user(owner: AsyncConnection[Any]) -> NewUser:
    """``await new_user()``: a person with an account and a profile."""

    async def make() -> UUID:
        user_id = uuid4()
        await owner.execute(
            "insert into auth.users (id, email) values (%s, %s)", (user_id, f"{user_id.hex[:8]}@example.test")
        )
        await owner.execute("insert into user_profiles (id) values (%s) on conflict do nothing", (user_id,))
        return user_id

    return make
