"""The migration runner: fresh, again, changed, interrupted, contended, and on servers that will not do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

import coach.database.requirements as requirements
from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate, pending
from coach.errors import DatabaseUnavailable, Misconfigured
from tests.migration.statements import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_one.sql").write_text(
        "create table one (n integer);\ninsert into one values (1);\n"
    )
    (tmp_path / "migrations" / "0002_two.sql").write_text("create table two ();\n")
    return tmp_path


def database_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


async def test_a_second_run_is_a_no_op(empty: str) -> None:
    waiting = await pending(empty)

    first = await migrate(empty)
    second = await migrate(empty)

    assert first.names == waiting
    assert second.names == ()
    assert second.already == len(waiting)
    assert await pending(empty) == ()


async def test_on_a_fresh_database_there_is_nothing_to_report(empty: str) -> None:
    lines: list[str] = []

    await migrate(empty, report=lines.append)

    assert lines == []


async def test_the_servers_own_login_can_see_what_is_pending(owner_url: str, database_url: str) -> None:
    assert await pending(database_url) == ()


async def test_the_servers_own_login_cannot_migrate(database_url: str) -> None:
    with pytest.raises(Misconfigured, match=r"COACH_DATABASE_URL: .*coach_server is neither"):
        await migrate(database_url)


async def test_a_file_changed_after_it_was_applied_is_named(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    (folder / "migrations" / "0001_one.sql").write_text("create table one (n bigint);")
    (folder / "migrations" / "0003_three.sql").write_text("create table three ();")

    with pytest.raises(Misconfigured, match=r"0001_one\.sql was changed"):
        await migrate(empty, folder=folder)
    with pytest.raises(Misconfigured, match=r"0001_one\.sql was changed"):
        await pending(empty, folder=folder)

    assert run(empty, "select to_regclass('three')") == [(None,)]


async def test_a_failing_file_leaves_the_database_as_it_was_before_the_run(empty: str, folder: Path) -> None:
    (folder / "migrations" / "0002_two.sql").write_text("create table two ();\nselect 1 / 0;")

    with pytest.raises(psycopg.errors.DivisionByZero) as failure:
        await migrate(empty, folder=folder)

    assert failure.value.__notes__ == ["in sql/migrations/0002_two.sql"]
    assert run(empty, "select to_regclass('two'), to_regclass('one'), to_regnamespace('coach')") == [(None, None, None)]
    (folder / "migrations" / "0002_two.sql").write_text("create table two ();")
    assert len((await migrate(empty, folder=folder)).names) == 2


async def test_a_file_that_refuses_to_run_in_a_transaction_fails(empty: str, folder: Path) -> None:
    (folder / "migrations" / "0003_index.sql").write_text("create index concurrently one_n on one (n);\n")

    with pytest.raises(psycopg.errors.ActiveSqlTransaction):
        await migrate(empty, folder=folder)


async def test_what_a_file_raises_as_info_is_reported_and_other_notices_are_not(empty: str, folder: Path) -> None:
    (folder / "migrations" / "0003_talk.sql").write_text(
        "do $$ begin raise info 'did something'; raise notice 'chatter'; raise warning 'loud'; end $$;"
    )
    lines: list[str] = []

    await migrate(empty, report=lines.append, folder=folder)

    assert lines == ["did something"]


async def test_of_many_migrators_one_works_and_the_others_wait_for_it(empty: str, folder: Path) -> None:
    """The one holds on until the others have said that they wait: its last file wants what the test has locked."""
    run(empty, "create table gate ()")
    (folder / "migrations" / "0003_slow.sql").write_text("lock table gate;")
    lines: list[str] = []
    all_wait = asyncio.Event()

    def report(line: str) -> None:
        lines.append(line)
        if len(lines) == 4:
            all_wait.set()

    async with await AsyncConnection.connect(empty) as gate:
        await gate.execute("lock table gate")
        migrating = asyncio.gather(*(migrate(empty, report=report, folder=folder) for _ in range(5)))
        await asyncio.wait([asyncio.create_task(all_wait.wait())], timeout=30)
    done = await migrating

    assert sorted(len(applied.names) for applied in done) == [0, 0, 0, 0, 3]
    assert lines == ["Another process is migrating this database; waiting for it."] * 4


async def test_who_comes_after_a_migration_hears_nothing_of_it(
    empty: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes its time to end a connection that was closed: here all of the test's."""
    lingering: list[AsyncConnection[Any]] = []
    close, lines = AsyncConnection.close, list[str]()

    async def linger(connection: AsyncConnection[Any]) -> None:
        lingering.append(connection)

    monkeypatch.setattr(AsyncConnection, "close", linger)
    await migrate(empty, folder=folder)
    again = await asyncio.wait_for(migrate(empty, report=lines.append, folder=folder), 5)
    for connection in lingering:
        await close(connection)

    assert (again.names, lines) == ((), [])


async def test_a_killed_migration_blocks_no_other(empty: str, folder: Path) -> None:
    (folder / "migrations" / "0003_slow.sql").write_text("create table three ();\nselect pg_sleep(60);")
    first = asyncio.create_task(migrate(empty, folder=folder))
    killed = []
    while not killed:
        await asyncio.sleep(0.05)
        killed = run(
            empty,
            """
            select pg_terminate_backend(pid) from pg_stat_activity
            where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()
            """,
        )
    with pytest.raises(DatabaseUnavailable, match="closed the connection"):
        await first
    (folder / "migrations" / "0003_slow.sql").write_text("create table three ();")

    assert "migrations/0003_slow.sql" in (await asyncio.wait_for(migrate(empty, folder=folder), 5)).names


async def test_a_time_limit_for_queries_does_not_end_a_migration(empty: str, folder: Path) -> None:
    run(empty, f"alter database {database_of(empty)} set statement_timeout = '50ms'")
    (folder / "migrations" / "0003_slow.sql").write_text("select pg_sleep(0.2);")

    first, second = await asyncio.gather(migrate(empty, folder=folder), migrate(empty, folder=folder))

    assert len(first.names) + len(second.names) == 3


async def test_databases_of_one_cluster_can_migrate_at_once(cluster: EmbeddedServer) -> None:
    names = [f"together_{n}_{uuid4().hex[:8]}" for n in range(4)]
    for name in names:
        run(cluster.url("postgres"), f"create database {name}")

    done = await asyncio.gather(*(migrate(cluster.url(name)) for name in names))

    assert all(applied.names for applied in done)
    for name in names:
        run(cluster.url("postgres"), f"drop database {name} with (force)")


async def test_an_unreachable_server_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        await migrate("postgresql://postgres@127.0.0.1:1/coach")


async def test_an_old_server_is_refused(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "OLDEST_SERVER", 99)

    with pytest.raises(Misconfigured, match=r"COACH_DATABASE_URL: this is PostgreSQL \d+; 99 or newer is needed"):
        await migrate(empty)

    assert run(empty, "select to_regnamespace('coach')") == [(None,)]


async def test_a_server_without_pgvector_is_refused(empty: str) -> None:
    run(empty, f"alter database {database_of(empty)} set extension_control_path = '/nowhere'")

    with pytest.raises(Misconfigured, match=r"COACH_DATABASE_URL: this server lacks the extension pgvector"):
        await migrate(empty)


async def test_an_old_pgvector_is_refused(empty: str, cluster: EmbeddedServer) -> None:
    extensions = cluster.data / "old" / "extension"
    extensions.mkdir(parents=True, exist_ok=True)
    (extensions / "vector.control").write_text("default_version = '0.7.4'\n")
    (extensions / "vector--0.7.4.sql").write_text("")
    for path in (extensions.parent, extensions, *extensions.iterdir()):
        path.chmod(0o755)
    run(empty, f"alter database {database_of(empty)} set extension_control_path = '{extensions.parent}'")

    with pytest.raises(Misconfigured, match=r"pgvector is 0\.7\.4; 0\.8 or newer is needed"):
        await migrate(empty)
