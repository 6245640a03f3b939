"""A database of any release becomes the same as a fresh one. ``release.py`` says how a release is kept."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import psycopg
import pytest

from coach.database.embedded import EmbeddedServer
from coach.database.migrations import migrate, pending
from coach.errors import Misconfigured
from tests.migration.catalog import catalog, differences
from tests.migration.release import RELEASED
from tests.migration.statements import run


def test_there_is_a_release() -> None:
    assert list(RELEASED.glob("*.sql.gz"))


@pytest.mark.parametrize("release", sorted(RELEASED.glob("*.sql.gz")), ids=lambda file: file.name)
def test_an_upgraded_database_equals_a_fresh_one(
    empty: str, release: Path, cluster: EmbeddedServer, template: str
) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(gzip.decompress(release.read_bytes()))

    asyncio.run(migrate(empty))

    assert asyncio.run(pending(empty)) == ()
    assert differences(catalog(empty), catalog(cluster.url(template))) == []


async def test_a_database_from_before_the_first_release_hears_what_to_do(empty: str) -> None:
    run(empty, "create schema coach")
    run(empty, "create table coach.migrations (name text primary key, sha256 text, applied_at timestamptz)")
    run(empty, "insert into coach.migrations values ('0100_embedding_pipeline.sql', 'x', now())")

    for attempt in (migrate, pending):
        with pytest.raises(Misconfigured, match=r"before the first release.*make the database anew"):
            await attempt(empty)

    assert run(empty, "select to_regclass('coach.functions')") == [(None,)]
