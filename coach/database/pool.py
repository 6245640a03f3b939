"""The pool, and transactions in it: as a user, as the operator, or as the bare login role."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import msgspec
import psycopg
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import OperationalError
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from coach.database.round_trips import COMMIT, Connection, Statement
from coach.errors import DatabaseUnavailable

T = TypeVar("T")
Transaction = AsyncConnection[Any]
"""A connection inside a transaction that its context manager commits, or rolls back on an error."""

_ROLE: LiteralString = "select set_config('role', %s, true)"
_CLAIMED: LiteralString = "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"
_UNHURRIED: LiteralString = "select set_config('role', %s, true), set_config('synchronous_commit', 'off', true)"
_BEGIN = Statement("begin")
_BEGIN_SNAPSHOT = Statement("begin isolation level repeatable read")


class Database:
    """Connections to one PostgreSQL, handed out by the transaction.

    Nothing is set on a session and no statement is prepared by name (``prepare_threshold=None``): behind a transaction
    pooler clients share a session. ``begin`` is a statement like others (``autocommit``), since psycopg's own costs a
    round trip.
    """

    def __init__(self, url: str, *, min_size: int = 1, max_size: int = 20) -> None:
        self._url, self._min_size, self._max_size = url, min_size, max_size
        self._pool: AsyncConnectionPool[Transaction] | None = None

    async def open(self, *, wait: float = 10.0) -> None:
        """Connect. Made here and not in the constructor: a pool belongs to the event loop that opens it.

        :raises DatabaseUnavailable: no connection within ``wait`` seconds; says what the server or the network said.
        """
        self._pool = AsyncConnectionPool(
            self._url,
            connection_class=Connection,
            min_size=self._min_size,
            max_size=self._max_size,
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": max(2, int(wait))},
            configure=_configure,
            timeout=wait,
            open=False,
            name="coach",
        )
        await _reachable(self._url, wait)
        await self._pool.open(wait=True, timeout=wait)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    def connections(self) -> dict[str, int]:
        """How many there are: in use, idle, and wanted by those who wait for one."""
        stats = self._pool.get_stats() if self._pool is not None else {}
        idle = stats.get("pool_available", 0)
        return {"used": stats.get("pool_size", 0) - idle, "idle": idle, "wanted": stats.get("requests_waiting", 0)}

    @asynccontextmanager
    async def as_user(
        self, user_id: UUID, *, role: LiteralString = "coach_session", is_snapshot: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction of this user: row level security restricts it to their rows.

        ``is_snapshot``: all of its statements see the same rows, whatever others commit meanwhile; for reading only.
        """
        async with self.asking(user_id, _nothing, role=role, is_snapshot=is_snapshot) as (tx, _):
            yield tx

    @asynccontextmanager
    async def asking(
        self,
        user_id: UUID,
        question: Callable[[Transaction], Awaitable[T]],
        *,
        role: LiteralString = "coach_session",
        is_snapshot: bool = False,
    ) -> AsyncIterator[tuple[Transaction, T]]:
        """``as_user`` that sends its first statement with ``begin``, in one round trip, and yields the rows too. If the
        connection is dead, the statement is sent again on another.
        """
        async with self._begun(_becoming(user_id, role, is_snapshot=is_snapshot), question) as begun:
            yield begun

    async def once(self, user_id: UUID, *statements: Statement, is_snapshot: bool = False) -> list[list[Any]]:
        """The rows of each statement: a whole transaction of this user's in one round trip, its commit included.

        Where an idle connection turns out to be dead they are asked again on another, so each must bear that.
        """
        return await self._whole(_becoming(user_id, "coach_session", is_snapshot=is_snapshot), statements)

    async def run_for_each_user(self, statement: Statement) -> list[Any]:
        """Like ``once``, for a function that itself takes on one user after another; until it does, no row is seen.

        Its commit is not waited for: a crash of the database may undo the last third of a second of such
        transactions, never a part of one.
        """
        return (await self._whole([_BEGIN, Statement(_UNHURRIED, ("coach_session",))], [statement]))[0]

    @asynccontextmanager
    async def as_operator(self) -> AsyncIterator[Transaction]:
        """A transaction past row level security, for the worker and the command line."""
        async with self._begun([_BEGIN, Statement(_ROLE, ("service_role",))], _nothing) as (tx, _):
            yield tx

    @asynccontextmanager
    async def as_login_role(self) -> AsyncIterator[Transaction]:
        """A transaction of the login role, which sees no rows at all."""
        async with self._begun([_BEGIN], _nothing) as (tx, _):
            yield tx

    async def _whole(self, first: Sequence[Statement], statements: Sequence[Statement]) -> list[list[Any]]:
        async def ask(tx: Transaction) -> list[AsyncCursor[Any]]:
            return [await statement.send(tx) for statement in (*statements, COMMIT)][:-1]

        async with self._begun(first, ask) as (_, cursors):
            return [await cursor.fetchall() for cursor in cursors]

    @asynccontextmanager
    async def _begun(
        self, first: Sequence[Statement], question: Callable[[Transaction], Awaitable[T]]
    ) -> AsyncIterator[tuple[Transaction, T]]:
        """A transaction whose first statements have succeeded. If the connection is lost later, the caller gets the
        error."""
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        try:
            connection, answer = await self._begin(self._pool, first, question)
            async with self._kept(self._pool, connection) as tx:
                yield tx, answer
        except PoolTimeout as error:
            raise DatabaseUnavailable("No database connection became free in time.") from error
        except OperationalError as error:
            raise DatabaseUnavailable(f"The database cannot be reached ({type(error).__name__}); try again.") from error

    async def _begin(
        self,
        pool: AsyncConnectionPool[Transaction],
        first: Sequence[Statement],
        question: Callable[[Transaction], Awaitable[T]],
    ) -> tuple[Transaction, T]:
        """After a restart of the database every idle connection is dead: each is tried once, then a fresh one.

        Asking each connection whether it lives before every transaction would be a round trip more in all of them.
        """
        for attempt in range(self._max_size + 1):
            connection = await pool.getconn()
            try:
                async with connection.pipeline():  # one round trip, `begin` included
                    for statement in first:
                        await statement.send(connection)
                    return connection, await question(connection)
            except BaseException as error:
                is_dead = isinstance(error, OperationalError) and connection.closed
                with suppress(OperationalError):  # otherwise the pool does it and logs a warning
                    await connection.rollback()
                await pool.putconn(connection)
                if not is_dead or attempt == self._max_size:
                    raise
        raise DatabaseUnavailable

    @asynccontextmanager
    async def _kept(self, pool: AsyncConnectionPool[Transaction], tx: Transaction) -> AsyncIterator[Transaction]:
        """Commit at the end or roll back on an error, and hand the connection back either way."""
        try:
            async with tx:
                yield tx
        finally:
            await pool.putconn(tx)


def _becoming(user_id: UUID, role: LiteralString, *, is_snapshot: bool) -> Sequence[Statement]:
    claims = json.dumps({"sub": str(user_id), "role": "authenticated"})
    return _BEGIN_SNAPSHOT if is_snapshot else _BEGIN, Statement(_CLAIMED, (role, claims))


async def _nothing(tx: Transaction) -> None:
    """For a transaction that sends no statement with ``begin``."""


async def _configure(connection: AsyncConnection[Any]) -> None:
    await register_vector_async(connection)  # type: ignore[no-untyped-call]
    set_json_dumps(msgspec.json.encode, connection)  # takes a tenth of the standard library's time


async def _reachable(url: str, wait: float) -> None:
    """Ask once directly: the pool would hide the reason behind its time-out."""
    try:
        connection = await AsyncConnection.connect(url, connect_timeout=max(2, int(wait)), prepare_threshold=None)
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatabaseUnavailable(f"The database cannot be reached: {reason}") from error
    await connection.close()
