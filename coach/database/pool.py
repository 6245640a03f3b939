"""The pool, and transactions in it: as a user, as the operator, or as the bare login role."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from pgvector.psycopg.vector import register_vector_info
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import ForeignKeyViolation, OperationalError
from psycopg.types import TypeInfo
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from coach.database.round_trips import COMMIT, Connection, Statement
from coach.errors import DatabaseUnavailable, Unauthenticated
from coach.values.fair import FairGate

Transaction = AsyncConnection[Any]
"""A connection inside a transaction that its context manager commits, or rolls back on an error."""

NO_ACCOUNT = "The token is valid, but its user has no account here."

TOO_LARGE = "54"
"""The class of PostgreSQL's codes for a value that it cannot work with: too long, nested too deep. It is there."""

_ROLE: LiteralString = "select set_config('role', %s, true)"
_CLAIMED: LiteralString = "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"
_BEGIN = Statement("begin")
_BEGIN_SNAPSHOT = Statement("begin isolation level repeatable read")
_UNHURRIED = (
    _BEGIN,
    Statement("select set_config('role', 'coach_session', true), set_config('synchronous_commit', 'off', true)"),
)
_VECTOR_TYPES = """
    select typname, t.oid, typarray
    from pg_type t
    join pg_depend on classid = 'pg_type'::regclass and objid = t.oid and deptype = 'e'
    join pg_extension e on e.oid = refobjid
    where extname = 'vector'
"""
"""By the extension: a login that becomes another role in each transaction may not look into its schema itself."""
_REGISTER = {"vector": register_vector_info, "halfvec": register_halfvec_info}


class Database:
    """Connections to one PostgreSQL, handed out by the transaction.

    Nothing is set on a session and no statement is prepared by name (``prepare_threshold=None``): behind a transaction
    pooler clients share a session. ``begin`` is a statement like others (``autocommit``), since psycopg's own costs a
    round trip.
    """

    def __init__(self, url: str, *, min_size: int = 1, max_size: int = 20) -> None:
        self._url, self._min_size, self._max_size = url, min_size, max_size
        self._pool: AsyncConnectionPool[Transaction] | None = None
        self._gate = FairGate(max_size)

    def apart(self) -> Database:
        """Another one on the same server with one connection, still closed: for what must not wait behind others."""
        return Database(self._url, max_size=1)

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
            # Its pauses double until then, and afterwards whoever needs a connection has it try again at once.
            reconnect_timeout=wait,
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
        wanted = stats.get("requests_waiting", 0) + len(self._gate)
        return {"used": stats.get("pool_size", 0) - idle, "idle": idle, "wanted": wanted}

    @asynccontextmanager
    async def as_user(
        self, user_id: UUID, *, role: LiteralString = "coach_session", is_snapshot: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction of this user: row level security restricts it to their rows.

        ``is_snapshot``: all of its statements see the same rows, whatever others commit meanwhile; for reading only.
        """
        async with self._begun(_becoming(user_id, role, is_snapshot=is_snapshot), user_id) as (tx, _):
            yield tx

    @asynccontextmanager
    async def asking(self, user_id: UUID, question: Statement) -> AsyncIterator[tuple[Transaction, list[Any]]]:
        """``as_user`` that sends its first statement with ``begin``, in one round trip, and yields its rows too. If the
        connection is dead, the statement is sent again on another.
        """
        async with self._begun([*_becoming(user_id), question], user_id) as (tx, cursors):
            yield tx, await cursors[-1].fetchall()

    async def once(self, user_id: UUID | None, *statements: Statement, is_snapshot: bool = False) -> list[list[Any]]:
        """The rows of each statement: a whole transaction of this user's in one round trip, its commit included.

        Where an idle connection turns out to be dead they are asked again on another, so each must bear that.

        Without a user: for a function that itself takes on one user after another; until it does, no row is seen. Such
        a commit is not waited for: a crash of the database may undo the last third of a second of them, never a part of
        one.
        """
        first = _UNHURRIED if user_id is None else _becoming(user_id, is_snapshot=is_snapshot)
        async with self._begun([*first, *statements, COMMIT], user_id) as (_, cursors):
            return [await cursor.fetchall() for cursor in cursors[len(first) : -1]]

    @asynccontextmanager
    async def as_operator(self) -> AsyncIterator[Transaction]:
        """A transaction past row level security, for the worker and the command line."""
        async with self._begun([_BEGIN, Statement(_ROLE, ("service_role",))]) as (tx, _):
            yield tx

    @asynccontextmanager
    async def as_login_role(self) -> AsyncIterator[Transaction]:
        """A transaction of the login role, which sees no rows at all."""
        async with self._begun([_BEGIN]) as (tx, _):
            yield tx

    @asynccontextmanager
    async def _begun(
        self, first: Sequence[Statement], user_id: UUID | None = None
    ) -> AsyncIterator[tuple[Transaction, list[AsyncCursor[Any]]]]:
        """A transaction whose first statements have succeeded. If the connection is lost later, the caller gets the
        error. Where all connections are in use, users get one by turns, however many each of them wants."""
        if self._pool is None:
            raise DatabaseUnavailable("The database is not open.")
        try:
            async with self._place(self._pool, user_id):
                connection, cursors = await self._begin(self._pool, first)
                try:
                    async with connection as tx:  # commits at the end, or rolls back on an error
                        yield tx, cursors
                finally:
                    await self._pool.putconn(connection)
        except ForeignKeyViolation as error:
            # In whatever language the server speaks, the table stands between quotes.
            if re.search('"(accounts|users)"', error.diag.message_detail or ""):
                raise Unauthenticated(NO_ACCOUNT) from error
            raise
        except PoolTimeout as error:
            raise DatabaseUnavailable("No database connection became free in time.") from error
        except OperationalError as error:
            if (error.sqlstate or "").startswith(TOO_LARGE):
                raise
            raise DatabaseUnavailable(f"The database cannot be reached ({type(error).__name__}); try again.") from error

    @asynccontextmanager
    async def _place(self, pool: AsyncConnectionPool[Transaction], user_id: UUID | None) -> AsyncIterator[None]:
        """Its place among the connections; a user of None is one of the users."""
        try:
            await self._gate.enter(user_id, pool.timeout)
        except TimeoutError:
            raise PoolTimeout from None
        try:
            yield
        finally:
            self._gate.leave()

    async def _begin(
        self, pool: AsyncConnectionPool[Transaction], first: Sequence[Statement]
    ) -> tuple[Transaction, list[AsyncCursor[Any]]]:
        """After a restart of the database every idle connection is dead: each is tried once, then a fresh one.

        Asking each connection whether it lives before every transaction would be a round trip more in all of them.
        """
        for attempt in range(self._max_size + 1):
            connection = await pool.getconn()
            try:
                async with connection.pipeline():  # one round trip, `begin` included
                    return connection, [await statement.send(connection) for statement in first]
            except BaseException as error:  # cancelled too: the connection is the pool's
                is_dead = isinstance(error, OperationalError) and connection.closed
                with suppress(OperationalError):  # otherwise the pool does it and logs a warning
                    await connection.rollback()
                await pool.putconn(connection)
                if not is_dead or attempt == self._max_size:
                    raise
        raise DatabaseUnavailable


def _becoming(
    user_id: UUID, role: LiteralString = "coach_session", *, is_snapshot: bool = False
) -> Sequence[Statement]:
    claims = json.dumps({"sub": str(user_id), "role": "authenticated"})
    return _BEGIN_SNAPSHOT if is_snapshot else _BEGIN, Statement(_CLAIMED, (role, claims))


async def _configure(connection: AsyncConnection[Any]) -> None:
    for name, *oids in await (await connection.execute(_VECTOR_TYPES)).fetchall():
        if name in _REGISTER:
            _REGISTER[name](connection, TypeInfo(name, *oids))  # type: ignore[no-untyped-call]
    set_json_dumps(msgspec.json.encode, connection)  # takes a tenth of the standard library's time


async def _reachable(url: str, wait: float) -> None:
    """Ask once directly: the pool would hide the reason behind its time-out."""
    try:
        connection = await AsyncConnection.connect(url, connect_timeout=max(2, int(wait)), prepare_threshold=None)
    except psycopg.OperationalError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatabaseUnavailable(f"The database cannot be reached: {reason}") from error
    await connection.close()
