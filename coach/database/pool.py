"""The pool, and the ways into it: as a user, as the operator, as nobody."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from pgvector.psycopg import register_vector_async
from psycopg import AsyncConnection, sql
from psycopg.errors import OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from coach.errors import DatabaseUnavailable

Transaction = AsyncConnection[Any]
"""A connection inside a transaction that its context manager commits, or rolls back on an error."""

# `set` takes no parameters, hence the literals.
_ROLE = sql.SQL("set local role {}")
_SNAPSHOT = sql.SQL("set transaction isolation level repeatable read")
_CLAIMS = sql.SQL('set local "request.jwt.claims" = {}')


class Database:
    """Connections to one PostgreSQL, handed out by the transaction.

    Nothing is ever set on a session: behind a transaction pooler it belongs to others as well. Statements are not
    prepared by name for the same reason (``prepare_threshold=None``).
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
            min_size=self._min_size,
            max_size=self._max_size,
            kwargs={"prepare_threshold": None, "connect_timeout": max(2, int(wait))},
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
        """A transaction of this user's: row level security shows and takes their rows only.

        ``is_snapshot``: all of its statements see the same rows, whatever others commit meanwhile; for reading only.
        """
        claims = json.dumps({"sub": str(user_id), "role": "authenticated"})
        first = (_ROLE.format(sql.Identifier(role)), _CLAIMS.format(sql.Literal(claims)))
        async with self._begun(*([_SNAPSHOT] if is_snapshot else []), *first) as tx:
            yield tx

    @asynccontextmanager
    async def as_operator(self) -> AsyncIterator[Transaction]:
        """A transaction past row level security, for the worker and the command line."""
        async with self._begun(_ROLE.format(sql.Identifier("service_role"))) as tx:
            yield tx

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[Transaction]:
        """A transaction of the login role, which sees no rows at all."""
        async with self._begun(sql.SQL("select")) as tx:
            yield tx

    @asynccontextmanager
    async def _begun(self, *first: sql.SQL | sql.Composed) -> AsyncIterator[Transaction]:
        """A transaction whose first statements have succeeded; a loss of the connection later on is the caller's."""
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        try:
            connection = await self._begin(self._pool, *first)
            async with self._kept(self._pool, connection) as tx:
                yield tx
        except PoolTimeout as error:
            raise DatabaseUnavailable("No database connection became free in time.") from error
        except OperationalError as error:
            raise DatabaseUnavailable(f"The database cannot be reached ({type(error).__name__}); try again.") from error

    async def _begin(self, pool: AsyncConnectionPool[Transaction], *first: sql.SQL | sql.Composed) -> Transaction:
        """After a restart of the database every idle connection is dead: each is tried once, then a fresh one.

        Asking each connection whether it lives before every transaction would be a round trip more in all of them.
        """
        for attempt in range(self._max_size + 1):
            connection = await pool.getconn()
            try:
                async with connection.pipeline():  # one round trip, `begin` included
                    for statement in first:
                        await connection.execute(statement)
            except OperationalError:
                await pool.putconn(connection)
                if attempt == self._max_size:
                    raise
            except BaseException:
                with suppress(OperationalError):  # else the pool does it, with a warning about us
                    await connection.rollback()
                await pool.putconn(connection)
                raise
            else:
                return connection
        raise DatabaseUnavailable

    @asynccontextmanager
    async def _kept(self, pool: AsyncConnectionPool[Transaction], tx: Transaction) -> AsyncIterator[Transaction]:
        """Commit at the end or roll back on an error, and hand the connection back either way."""
        try:
            async with tx:
                yield tx
        finally:
            await pool.putconn(tx)


async def _configure(connection: AsyncConnection[Any]) -> None:
    await register_vector_async(connection)  # type: ignore[no-untyped-call]
    await connection.rollback()


async def _reachable(url: str, wait: float) -> None:
    """Ask once directly: the pool would hide the reason behind its time-out."""
    try:
        connection = await AsyncConnection.connect(url, connect_timeout=max(2, int(wait)), prepare_threshold=None)
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatabaseUnavailable(f"The database cannot be reached: {reason}") from error
    await connection.close()
