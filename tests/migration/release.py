"""Keeps the schema of today as a dump, from which ``test_released.py`` upgrades ever after.

``python -m tests.migration.release 0001`` writes ``tests/migration/released/0001.sql.gz``. Once for each release, and
never again for the same one.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import tempfile
from pathlib import Path

import psycopg

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate
from coach.database.programs import Programs

RELEASED = Path(__file__).with_name("released")


def write(name: str) -> Path:
    with tempfile.TemporaryDirectory(prefix="release-") as home:
        Path(home).chmod(0o777)
        with EmbeddedServer(Path(home)) as server:
            with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
                connection.execute("create database released")
            asyncio.run(migrate(server.url("released")))
            dump = Path(home) / "dump.sql"
            Programs(Path(home)).run(
                "pg_dump", "--inserts", "--no-owner", f"--file={dump}", f"--dbname={server.url('released')}"
            )
            text = dump.read_text(encoding="utf-8")
    RELEASED.mkdir(exist_ok=True)
    file = RELEASED / f"{name}.sql.gz"
    # Without psql's own commands, for any client to run.
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("\\")]
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return file


if __name__ == "__main__":
    print(write(sys.argv[1]))
