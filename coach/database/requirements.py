"""What a server must be for our migrations to run on it."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from coach.errors import Misconfigured

OLDEST_SERVER = 15
OLDEST_PGVECTOR = (0, 8)

Connection = AsyncConnection[tuple[Any, ...]]


async def check_server(connection: Connection) -> None:
    """:raises Misconfigured: server or pgvector too old, pgvector missing, or a role that row level security binds."""
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise Misconfigured(
            f"COACH_DATABASE_URL: this is PostgreSQL {version}; {OLDEST_SERVER} or newer is needed "
            "(or leave the variable out for the embedded one)."
        )
    await _check_role(connection, version)
    await _check_pgvector(connection)


async def _check_role(connection: Connection, version: int) -> None:
    query = "select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user"
    row = await (await connection.execute(query)).fetchone()
    assert row is not None  # every session has a current user
    name, superuser, bypasses = row
    if superuser or (bypasses and version >= 16):
        return
    wanted = "a superuser" if version < 16 else "a superuser or a role with bypassrls"
    raise Misconfigured(
        f"COACH_DATABASE_URL: migrations must run as {wanted}, or row level security would hide rows from them; "
        f"{name} is neither. Example: postgresql://postgres:…@host/database"
    )


async def _check_pgvector(connection: Connection) -> None:
    query = """
        select coalesce(installed_version, default_version), installed_version is not null
        from pg_available_extensions
        where name = 'vector'
    """
    row = await (await connection.execute(query)).fetchone()
    wanted = ".".join(map(str, OLDEST_PGVECTOR))
    if row is None:
        raise Misconfigured(
            f"COACH_DATABASE_URL: this server lacks the extension pgvector (vector); install {wanted} or newer."
        )
    version, installed = row
    if tuple(int(part) for part in str(version).split(".")[:2]) < OLDEST_PGVECTOR:
        remedy = "`alter extension vector update` after installing it" if installed else "install it"
        raise Misconfigured(f"COACH_DATABASE_URL: pgvector is {version}; {wanted} or newer is needed ({remedy}).")
