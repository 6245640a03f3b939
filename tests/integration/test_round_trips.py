"""Statements that travel together, seen from the wire and from the rows."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.trsock import TransportSocket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import CheckViolation, UniqueViolation

from coach.database.pool import Database
from coach.database.round_trips import Statement, send_together

PILLAR = "insert into pillars (user_id, id, name) values (%s, %s, %s) returning name"
HEALTH = UUID(int=1)


class Wire:
    """A relay before the database that counts what a client writes, as the kernel does.

    Not its own reads: what waits together in a socket is read at once. With TCP_NODELAY, as libpq has it, each write is
    a segment of its own.
    """

    DATA_SEGMENTS_IN = 152  # struct tcp_info of Linux, tcpi_data_segs_in
    HELD = 256

    def __init__(self) -> None:
        self._sockets: list[TransportSocket] = []

    @property
    def writes(self) -> int:
        return sum(self._segments(each) for each in self._sockets if each.fileno() >= 0)

    def _segments(self, connection: TransportSocket) -> int:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, self.HELD)
        return int.from_bytes(told[self.DATA_SEGMENTS_IN : self.DATA_SEGMENTS_IN + 4], sys.byteorder)

    async def relay(self, database: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sockets.append(writer.get_extra_info("socket"))
        upstream, downstream = await asyncio.open_unix_connection(database)
        await asyncio.gather(self._pass_on(reader, downstream), self._pass_on(upstream, writer))

    async def _pass_on(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 20):
                to.write(data)
        to.close()


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def watched(database_url: str, wire: Wire) -> AsyncIterator[Database]:
    """One connection, through the relay."""
    where = conninfo_to_dict(database_url)
    real = str(Path(str(where["host"])) / f".s.PGSQL.{where['port']}")
    server = await asyncio.start_server(lambda r, w: wire.relay(real, r, w), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(make_conninfo(database_url, host="127.0.0.1", port=port), min_size=1, max_size=1)
    await database.open()
    yield database
    await database.close()
    server.close()


async def names(owner: Any, user: UUID) -> list[str]:
    rows = await owner.execute("select name from pillars where user_id = %s order by name", (user,))
    return [name for (name,) in await rows.fetchall()]


async def test_a_whole_transaction_is_one_write_and_is_committed(
    watched: Database, wire: Wire, owner: Any, new_user: Any
) -> None:
    user = await new_user()
    before = wire.writes

    made, counted = await watched.once(
        user, Statement(PILLAR, (user, HEALTH, "Health")), Statement("select count(*) from pillars")
    )

    assert wire.writes - before == 1
    assert (made, counted) == ([("Health",)], [(1,)])
    assert await names(owner, user) == ["Health"]


async def test_a_transaction_with_reads_between_takes_one_write_a_step(
    watched: Database, wire: Wire, new_user: Any
) -> None:
    user = await new_user()
    before = wire.writes

    async with watched.as_user(user) as tx:
        await send_together(
            tx, Statement(PILLAR, (user, HEALTH, "Health")), Statement("select 1"), Statement("select 2")
        )

    assert wire.writes - before == 3  # begin, the three, commit


async def test_a_question_that_travels_with_the_beginning_needs_no_write_of_its_own(
    watched: Database, wire: Wire, new_user: Any
) -> None:
    user = await new_user()
    before = wire.writes
    async with watched.asking(user, Statement("select count(*) from pillars")) as (_, counted):
        assert (counted, wire.writes - before) == ([(0,)], 1)


async def one_of(db: Database, user: UUID, *statements: Statement) -> None:
    await db.once(user, *statements)


async def in_steps(db: Database, user: UUID, *statements: Statement) -> None:
    async with db.as_user(user) as tx:
        await send_together(tx, *statements)


@pytest.mark.parametrize("way", [one_of, in_steps])
async def test_the_first_error_is_raised_and_the_transaction_rolls_back(
    watched: Database, owner: Any, new_user: Any, way: Callable[..., Any]
) -> None:
    user = await new_user()
    twice = Statement(PILLAR, (user, HEALTH, "Again"))

    with pytest.raises(UniqueViolation):
        await way(watched, user, Statement(PILLAR, (user, HEALTH, "Health")), twice, Statement("select 1 / 0"))

    assert await names(owner, user) == []
    assert await watched.once(user, Statement("select 1")) == [[(1,)]]


async def test_a_transaction_that_is_cancelled_keeps_nothing_and_its_connection_serves_on(
    watched: Database, owner: Any, new_user: Any
) -> None:
    """In the middle of its one round trip: the commit was sent along, and must not be reached."""
    user = await new_user()
    slow = Statement("select pg_sleep(30)")
    task = asyncio.create_task(watched.once(user, Statement(PILLAR, (user, HEALTH, "Half")), slow))
    await until_sleeping(owner)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with asyncio.timeout(20):
        assert await watched.once(user, Statement("select 1"), Statement("select 2")) == [[(1,)], [(2,)]]
    assert await names(owner, user) == []


async def until_sleeping(owner: Any) -> None:
    async with asyncio.timeout(20):
        while True:
            asleep = await owner.execute(
                "select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
            )
            if await asleep.fetchone() is not None:
                return
            await asyncio.sleep(0.01)


async def test_answers_beyond_what_the_socket_holds_come_through(watched: Database, new_user: Any) -> None:
    """Both ways at once: neither side waits for the other to read."""
    long = "x" * 3_000_000

    answers = await watched.once(await new_user(), *[Statement("select %s::text", (long,)) for _ in range(3)])

    assert [len(text) for ((text,),) in answers] == [len(long)] * 3


async def test_a_transaction_in_one_write_sees_only_its_users_rows(watched: Database, new_user: Any) -> None:
    ann, bob = await new_user(), await new_user()
    await watched.once(ann, Statement(PILLAR, (ann, HEALTH, "Health")))

    assert await watched.once(bob, Statement("select count(*) from pillars")) == [[(0,)]]
    async with watched.as_login_role() as tx:
        assert await (await tx.execute("select current_setting('role')")).fetchone() == ("none",)


async def test_a_violated_constraint_keeps_its_own_error(watched: Database, new_user: Any) -> None:
    user = await new_user()
    with pytest.raises(CheckViolation):
        await watched.once(
            user, Statement("insert into areas (user_id, name, importance) values (%s, 'Running', 9)", (user,))
        )
