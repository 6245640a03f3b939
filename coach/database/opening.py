"""The database that the settings mean: one by URL, or the embedded one, made and migrated as needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog
from msgspec import Struct
from psycopg import AsyncConnection
from pydantic import SecretStr

from coach.database.embedded import EmbeddedServer
from coach.database.migrating import Report
from coach.database.migrations import lacking, migrate
from coach.errors import DatabaseUnavailable, Misconfigured
from coach.settings import Settings
from coach.values.background import beside

_log = structlog.get_logger(__name__)

NAME = "coach"
LOOKED_AFTER = 0.5
"""Seconds between looks at the embedded server; ``RARELY`` where it cannot be started again."""
RARELY = 4.0


class Urls(Struct, frozen=True):
    """How each of us logs in, and who listens. ``owner`` is None where only the operator can migrate."""

    server: str
    worker: str
    listen: str
    owner: str | None

    def __repr__(self) -> str:
        return "Urls(…)"


@asynccontextmanager
async def opened(settings: Settings, report: Report = lambda line: None) -> AsyncIterator[Urls]:
    """The database while inside, ready to be used.

    :raises Misconfigured: a database of the operator's that is not migrated yet, or that cannot be used.
    :raises DatabaseUnavailable: it does not answer.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        if waiting := await lacking(url):
            raise Misconfigured(f"COACH_DATABASE_URL: {len(waiting)} files of sql/ wait there; run: coach migrate")
        worker = _secret(settings.worker_database_url) or url
        yield Urls(server=url, worker=worker, listen=_secret(settings.database_direct_url) or worker, owner=None)
        return
    async with _embedded(settings) as server:
        await migrate(server.url(NAME), report=report)
        yield Urls(
            server=server.url(NAME, role="coach_server"),
            worker=server.url(NAME, role="coach_worker"),
            listen=server.url(NAME, role="coach_worker"),
            owner=server.url(NAME),
        )


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


@asynccontextmanager
async def owned(settings: Settings) -> AsyncIterator[str]:
    """The database while inside, as its owner logs in, however far it is migrated: for migrating and examining it."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with _embedded(settings) as server:
        yield server.url(NAME)


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[EmbeddedServer]:
    server = EmbeddedServer(settings.home)
    try:
        # Within: a thread cannot be cancelled. What Ctrl-C leaves starting would otherwise run on for ever.
        await asyncio.to_thread(server.start)
        await _create(server.url("postgres"))
        async with beside(_keep_alive(server), "embedded_database_unwatched"):
            yield server
    finally:
        await asyncio.to_thread(server.stop)


async def _keep_alive(server: EmbeddedServer) -> None:
    """For as long as it is used: whatever kills it (the kernel for want of memory, a person) does not bring it back."""
    pause = LOOKED_AFTER
    while True:
        await asyncio.sleep(pause)
        try:
            if await asyncio.to_thread(server.revive):
                _log.error("embedded_database_had_died")
            pause = LOOKED_AFTER
        except (DatabaseUnavailable, Misconfigured) as error:
            _log.error("embedded_database_is_dead", reason=str(error))
            pause = min(2 * pause, RARELY)


async def _create(url: str) -> None:
    """Make our database where it is missing; another process may be doing the same."""
    try:
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            found = await connection.execute("select from pg_database where datname = %s", (NAME,))
            if await found.fetchone() is None:
                await connection.execute(f"create database {NAME}")
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The embedded database cannot be reached ({type(error).__name__}).") from error
