"""Consents are declared once: a new one is an entry of sql/functions/consents.sql, and all follow it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from coach.database.embedded import EmbeddedServer
from coach.kinds.consents import CONSENTS, declared, with_table
from coach.resources import ROOT

MADE_UP = """,
    {
        "name": "read_my_days",
        "default": true,
        "entities": ["journal_entries"],
        "events": ["sleep"],
        "stops": "what is read of days"
    }
]
$json$"""

USE = """
import asyncio, json, sys
from uuid import UUID
import msgspec
from coach.database.migrations import migrate
from coach.database.pool import Database
from coach.http.bodies import read as decode
from coach.kinds.consents import covering
from coach.privacy import preferences
from coach.privacy.schemas import PreferencesChange

async def main(owner, server, user):
    await migrate(owner)
    db = Database(server)
    await db.open()
    before = await preferences.read(db, user)
    changed = await preferences.change(db, user, decode(sys.stdin.buffer.read(), PreferencesChange))
    after = await preferences.read(db, user)
    await db.close()
    return [msgspec.to_builtins(each) for each in (before, changed, after)] + [sorted(covering("journal_entries"))]

print(json.dumps(asyncio.run(main(*sys.argv[1:3], UUID(sys.argv[3])))))
"""


@pytest.fixture
def changed_copy(tmp_path: Path) -> Path:
    """A copy of the package and its SQL, with one more entry in the declaration and nothing else changed."""
    for folder in ("coach", "sql"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("prompts", "evals"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    file = tmp_path / "sql" / "functions" / "consents.sql"
    text = file.read_text()
    assert text.count("\n]\n$json$") == 1
    file.write_text(text.replace("\n]\n$json$", MADE_UP))
    return tmp_path


def patch(copy: Path, cluster: EmbeddedServer, database: str, user: UUID, body: dict[str, bool]) -> list[Any]:
    """What the copy says of preferences before, in answer to, and after a PATCH."""
    done = subprocess.run(
        [sys.executable, "-c", USE, cluster.url(database), cluster.url(database, role="coach_server"), str(user)],
        cwd=copy, input=json.dumps(body).encode(), capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def ann(empty: str, changed_copy: Path, cluster: EmbeddedServer, template: str) -> UUID:
    """With a journal entry that has a vector, on a database that was migrated before the entry was declared."""
    user = uuid4()
    database = psycopg.conninfo.conninfo_to_dict(empty)["dbname"]
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("drop database {}").format(sql.Identifier(str(database))))
        maintenance.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(str(database)), sql.Identifier(template))
        )
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("insert into auth.users (id) values (%s)", (user,))
        connection.execute("insert into user_profiles (id) values (%s)", (user,))
        for table in ("journal_entries", "pillars"):
            name = "title" if table == "journal_entries" else "name"
            insert = sql.SQL("insert into {} (user_id, id, {}) values (%(user)s, %(user)s, 'Day')")
            connection.execute(insert.format(sql.Identifier(table), sql.Identifier(name)), {"user": user})
        for kind in ("journal_entry", "pillar"):
            connection.execute(
                """
                insert into user_metadata_embeddings (
                    user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model
                )
                values (
                    %(user)s, %(kind)s, %(user)s, 'Day',
                    array_fill(0.5::real, array[1536])::vector(1536)::halfvec(1536), 'm'
                )
                """,
                {"user": user, "kind": kind},
            )
    return user


def test_a_new_consent_is_one_entry(empty: str, changed_copy: Path, cluster: EmbeddedServer, ann: UUID) -> None:
    database = str(psycopg.conninfo.conninfo_to_dict(empty)["dbname"])

    before, changed, after, covering = patch(changed_copy, cluster, database, ann, {"read_my_days": False})

    assert [each["read_my_days"] for each in (before, changed, after)] == [True, False, False]
    assert {name: given for name, given in after.items() if name in {each.name for each in CONSENTS}} == {
        each.name: each.by_default for each in CONSENTS
    }
    assert covering == ["read_my_days", "record_rag_snippets"]
    assert "| `read_my_days` | on | what is read of days |" in (
        with_table((ROOT / "docs" / "privacy.md").read_text(), declared(changed_copy / "sql/functions/consents.sql"))
    )
    with psycopg.connect(empty, autocommit=True) as connection:
        kept = connection.execute("select domain_tag from user_metadata_embeddings").fetchall()
        queued = connection.execute("select entity_table from embedding_queue").fetchall()
        assert (kept, queued) == ([("pillar",)], [("pillars",)])
        connection.execute("update journal_entries set title = 'Night'")
        connection.execute("insert into journal_entries (user_id, title) values (%s, 'Dawn')", (ann,))
        assert connection.execute("select entity_table from embedding_queue").fetchall() == queued
        with pytest.raises(psycopg.Error, match="action_type: read_my_days is not consented to"):
            connection.execute("insert into user_behavior_events (user_id, action_type) values (%s, 'sleep')", (ann,))
        connection.execute("update user_analytics_preferences set read_my_days = true")
        connection.execute("insert into user_behavior_events (user_id, action_type) values (%s, 'sleep')", (ann,))
        again = "select count(*) from embedding_queue where entity_table = 'journal_entries'"
        assert connection.execute(again).fetchall() == [(2,)]


@pytest.mark.parametrize("name", ["unknown", "", "RECORD_RAG_SNIPPETS", "data_retention_days", "user_id", None])
@pytest.mark.parametrize("mine", [True, False])
async def test_an_unknown_consent_is_an_error_whoever_asks_for_whom(
    browser: Any, new_user: Any, name: str | None, mine: bool
) -> None:
    ann, ben = await new_user(), await new_user()

    with pytest.raises(psycopg.errors.InvalidParameterValue, match="is not a consent"):
        async with browser(ann) as connection:
            await connection.execute("select user_has_consented(%s, %s)", (ann if mine else ben, name))


async def test_a_kind_that_needs_a_consent_that_there_is_not_is_never_embedded(owner: Any, new_user: Any) -> None:
    ann = await new_user()
    await owner.execute("update coach.entity_kinds set consents = '{no_such_consent}' where queue_name = 'tasks'")
    try:
        await owner.execute("insert into tasks (user_id, name) values (%s, 'Buy shoes')", (ann,))
        queued = await owner.execute("select count(*) from embedding_queue where user_id = %s", (ann,))
        assert await queued.fetchone() == (0,)
    finally:
        await owner.execute("update coach.entity_kinds set consents = '{}' where queue_name = 'tasks'")


async def test_nothing_is_written_for_somebody_whose_consents_are_not_told(browser: Any, new_user: Any) -> None:
    ann, ben = await new_user(), await new_user()

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with browser(ann) as connection:
            await connection.execute(
                "insert into user_behavior_events (user_id, action_type) values (%s, 'flow_entry')", (ben,)
            )


def test_the_page_on_privacy_has_the_consents_as_they_are_declared() -> None:
    """Write it anew: python -m coach.kinds.consents docs/privacy.md"""
    page = (ROOT / "docs" / "privacy.md").read_text()

    assert page == with_table(page)
    assert all(f"| `{consent.name}` |" in page for consent in CONSENTS)


async def test_the_declaration_that_python_reads_is_the_databases(owner: Any) -> None:
    rows = await (
        await owner.execute("select name, by_default, stops, entities, events from coach.consents order by position")
    ).fetchall()

    assert rows == [
        (each.name, each.by_default, each.stops, list(each.entities), list(each.events)) for each in CONSENTS
    ]
