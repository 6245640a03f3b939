"""All SQL has a name and a file: ``sql/queries/<subject>.sql``, loaded once.

``_sql = load("chat")`` gives the queries of a subject by name, and the method that runs one says what comes back::

    known = await _sql.idempotent.one(tx, Known, user_id=user_id, key=key, since=since)  # Known, or None
    found = await _sql.revisions_of.rows(tx, Revision, user_id=user_id, ...)  # list[Revision]
    used = await _sql.lock_month.value(tx, user_id=user_id, ...)  # the only column of the only row, or None
    ids = await _sql.running_in.values(tx, user_id=user_id, ...)  # the only column of each row
    count = await _sql.refund.run(tx, user_id=user_id, id=id_)  # how many rows were changed
    count = await _sql.propose.run_each(tx, proposals)  # once for each dictionary of parameters
    rows, = await db.once(user_id, _sql.opening.statement(Opening, user_id=user_id, ...))  # travels along with others

A row becomes an object of the class that is named, each column the field of its name: a ``Struct``, a ``NamedTuple``
or a dataclass. So every column has a name in the SQL (``count(*) as waiting``), and their order means nothing. A row of
two columns may stay a ``tuple``.

The header of a query names its parameters: ``-- name: refund(user_id, id)!``. They have to be those of its text, which
is checked when it is loaded, and those of each call, else ``WrongParameters`` names the query. The sign after them says
what it is made for: ``^`` is ``one``, ``$`` is ``value``, ``!`` is ``run``, ``*!`` is ``run_each``, none is ``rows`` or
``values``; a test compares all calls with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, LiteralString, TypeVar, cast

import aiosql
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import AsyncRowFactory, class_row, tuple_row

from coach.database.round_trips import Statement
from coach.resources import SQL

T = TypeVar("T")
_Transaction = AsyncConnection[Any]

AT_ONCE = 100
"""Rows whose parameters are encoded without a pause: with a vector each that takes some 20 ms."""


class WrongParameters(TypeError):
    """A query was called with other parameters than its header names."""


class Query:
    """One named query. ``row`` is the class that its rows become; parameters are passed by name."""

    def __init__(self, name: str, text: LiteralString, parameters: Sequence[str]) -> None:
        self.name, self.sql, self.parameters = name, text, frozenset(parameters)

    async def one(self, tx: _Transaction, row: type[T], **parameters: Any) -> T | None:
        return await (await self._sent(tx, _factory(row), parameters)).fetchone()

    async def rows(self, tx: _Transaction, row: type[T], **parameters: Any) -> list[T]:
        return await (await self._sent(tx, _factory(row), parameters)).fetchall()

    async def value(self, tx: _Transaction, **parameters: Any) -> Any:
        row = await (await self._sent(tx, tuple_row, parameters)).fetchone()
        return None if row is None else row[0]

    async def values(self, tx: _Transaction, **parameters: Any) -> list[Any]:
        return [value for (value,) in await (await self._sent(tx, tuple_row, parameters)).fetchall()]

    async def run(self, tx: _Transaction, **parameters: Any) -> int:
        return (await self._sent(tx, tuple_row, parameters)).rowcount

    async def run_each(self, tx: _Transaction, rows: Sequence[Mapping[str, Any]]) -> int:
        for row in rows:
            self._check(row)
        changed = 0
        async with tx.cursor() as cursor:
            for start in range(0, len(rows), AT_ONCE):
                await cursor.executemany(self.sql, rows[start : start + AT_ONCE])
                changed += cursor.rowcount
        return changed

    def statement(self, row: type[Any] = tuple, /, **parameters: Any) -> Statement:
        """Not sent yet: for ``Database.once`` and its like."""
        self._check(parameters)
        return Statement(self.sql, parameters, _factory(row))

    async def _sent(
        self, tx: _Transaction, factory: AsyncRowFactory[T], parameters: Mapping[str, Any]
    ) -> AsyncCursor[T]:
        self._check(parameters)
        return await tx.cursor(row_factory=factory).execute(self.sql, parameters or None)

    def _check(self, parameters: Mapping[str, Any]) -> None:
        if parameters.keys() != self.parameters:
            missing, unknown = self.parameters - parameters.keys(), parameters.keys() - self.parameters
            raise WrongParameters(f"{self.name}: missing {sorted(missing)}, unknown {sorted(unknown)}")


class Queries:
    """Those of one file, as attributes."""

    def __init__(self, subject: str, queries: Mapping[str, Query]) -> None:
        self.subject, self._queries = subject, queries

    def __getattr__(self, name: str) -> Query:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"sql/queries/{self.subject}.sql has no query {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted(self._queries)


def _factory(row: type[T]) -> AsyncRowFactory[T]:
    return cast(AsyncRowFactory[T], tuple_row) if row is tuple else class_row(row)


@cache
def load(subject: str) -> Queries:
    """The queries of ``sql/queries/<subject>.sql``.

    :raises aiosql.SQLParseException: a header is missing, or names other parameters than the text has.
    """
    parsed = aiosql.from_path(SQL / "queries" / f"{subject}.sql", "apsycopg")
    named = {name: getattr(parsed, name) for name in parsed.available_queries}
    return Queries(
        subject,
        {
            name: Query(f"{subject}.{name}", fn.sql, fn.parameters or ())
            for name, fn in named.items()
            if not name.endswith("_cursor")  # aiosql's own, beside each select
        },
    )
