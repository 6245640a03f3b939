"""Statements that travel together, seen from the wire and from the rows."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import CheckViolation, UniqueViolation

from coach.database.pool import Database
from coach.database.round_trips import Asked, together

PILLAR = "insert into pillars (user_id, id, name) values (%s, %s, %s) returning name"
HEALTH = UUID(int=1)


class Wire:
    """A relay before the database that counts what a client writes."""

    def __init__(self) -> None:
        self.writes = 0

    async def relay(self, socket: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(socket)
        await asyncio.gather(self._pass_on(reader, downstream, counts=True), self._pass_on(upstream, writer))

    async def _pass_on(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, counts: bool = False) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 20):
                self.writes += counts
                to.write(data)
        to.close()


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def watched(database_url: str, wire: Wire) -> AsyncIterator[Database]:
    """One connection, through the relay."""
    where = conninfo_to_dict(database_url)
    socket = f".s.PGSQL.{where['port']}"
    folder = tempfile.mkdtemp(prefix="wire-")
    real = str(Path(str(where["host"])) / socket)
    server = await asyncio.start_unix_server(lambda r, w: wire.relay(real, r, w), Path(folder) / socket)
    database = Database(make_conninfo(database_url, host=folder), min_size=1, max_size=1)
    await database.open()
    yield database
    await database.close()
    server.close()
    shutil.rmtree(folder)


async def names(owner: Any, user: UUID) -> list[str]:
    rows = await owner.execute("select name from pillars where user_id = %s order by name", (user,))
    return [name for (name,) in await rows.fetchall()]


async def test_a_whole_transaction_is_one_write_and_is_committed(
    watched: Database, wire: Wire, owner: Any, new_user: Any
) -> None:
    user = await new_user()
    before = wire.writes

    made, counted = await watched.once(
        user, Asked(PILLAR, (user, HEALTH, "Health")), Asked("select count(*) from pillars")
    )

    assert wire.writes - before == 1
    assert (made, counted) == ([("Health",)], [(1,)])
    assert await names(owner, user) == ["Health"]


async def test_a_transaction_that_is_looked_into_is_a_write_a_step(
    watched: Database, wire: Wire, new_user: Any
) -> None:
    user = await new_user()
    before = wire.writes

    async with watched.as_user(user) as tx:
        await together(tx, Asked(PILLAR, (user, HEALTH, "Health")), Asked("select 1"), Asked("select 2"))

    assert wire.writes - before == 3  # begin, the three, commit


async def one_of(db: Database, user: UUID, *asks: Asked) -> None:
    await db.once(user, *asks)


async def in_steps(db: Database, user: UUID, *asks: Asked) -> None:
    async with db.as_user(user) as tx:
        await together(tx, *asks)


@pytest.mark.parametrize("way", [one_of, in_steps])
async def test_the_first_mistake_is_told_nothing_is_kept_and_the_connection_serves_on(
    watched: Database, owner: Any, new_user: Any, way: Callable[..., Any]
) -> None:
    user = await new_user()
    twice = Asked(PILLAR, (user, HEALTH, "Again"))

    with pytest.raises(UniqueViolation):
        await way(watched, user, Asked(PILLAR, (user, HEALTH, "Health")), twice, Asked("select 1 / 0"))

    assert await names(owner, user) == []
    assert await watched.once(user, Asked("select 1")) == [[(1,)]]


async def test_answers_beyond_what_the_socket_holds_come_through(watched: Database, new_user: Any) -> None:
    """Both ways at once: neither side waits for the other to read."""
    long = "x" * 3_000_000

    answers = await watched.once(await new_user(), *[Asked("select %s::text", (long,)) for _ in range(3)])

    assert [len(text) for ((text,),) in answers] == [len(long)] * 3


async def test_a_transaction_of_one_user_in_one_write_sees_nothing_of_another(watched: Database, new_user: Any) -> None:
    ann, bob = await new_user(), await new_user()
    await watched.once(ann, Asked(PILLAR, (ann, HEALTH, "Health")))

    assert await watched.once(bob, Asked("select count(*) from pillars")) == [[(0,)]]
    async with watched.bare() as tx:
        assert await (await tx.execute("select current_setting('role')")).fetchone() == ("none",)


async def test_a_broken_rule_is_told_as_it_is(watched: Database, new_user: Any) -> None:
    user = await new_user()
    with pytest.raises(CheckViolation):
        await watched.once(
            user, Asked("insert into areas (user_id, name, importance) values (%s, 'Running', 9)", (user,))
        )
