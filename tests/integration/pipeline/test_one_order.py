"""A person's own statements at one moment, edits, a change of consents, the deletion of the account: all succeed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.database.queries import SQL, load
from tests.integration.pipeline.conftest import PipelineUser, until

HELD = 30.0
"""Seconds: PostgreSQL fails one of two that wait for each other after one, and whoever waits for good waits longer."""

EDITS = {
    "a zone": ("update user_profiles set timezone = 'Asia/Tokyo' where id = %(me)s", "a task"),
    "a task": ("update tasks set name = 'Buy boots' where user_id = %(me)s", "a journal entry"),
    "a deletion": ("delete from tasks where user_id = %(me)s and id = %(task)s", "a deletion of another"),
    "an archive": (
        "update tasks set archived = true where user_id = %(me)s and id = %(task)s",
        "a deletion of another",
    ),
    "a message": ("update ai_conversation_memory set message_content = 'x' where user_id = %(me)s", "a task"),
    "a correction": ("delete from user_metadata_embeddings where user_id = %(me)s", "a task"),
}
THEN = {
    "a task": "insert into tasks (user_id, name) values (%(me)s, 'Lace them')",
    "a journal entry": "insert into journal_entries (user_id, title) values (%(me)s, 'Boots')",
    "a deletion of another": "delete from tasks where user_id = %(me)s and id = %(other)s",
}


@pytest.fixture
async def app(db: Database, ann: PipelineUser) -> AsyncIterator[Any]:
    """A transaction of ann's own, in which she has a life already."""
    for name in ("Buy shoes", "Buy socks"):
        await ann.adds_task(name)
    await ann.does("insert into conversations (user_id, client_id) values (%(me)s, 'c')")
    await ann.does(
        "insert into ai_conversation_memory"
        " (user_id, conversation_id, client_id, message_role, message_content, status)"
        " select user_id, id, 'm', 'user', 'My knee', 'complete' from conversations where user_id = %(me)s"
    )
    async with db.as_user(ann.id) as tx:
        yield tx


@pytest.fixture
async def elsewhere(owner_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    async with await AsyncConnection.connect(owner_url, autocommit=True) as connection:
        yield connection


async def remember(ann: PipelineUser) -> dict[str, Any]:
    """One task is embedded and no more in the queue, the other the reverse: no table alone decides who waits."""
    ((task,), (other,)) = await ann.rows("select id from tasks where user_id = %(me)s order by name")
    await ann.rows(
        "with gone as (delete from embedding_queue where user_id = %(me)s and entity_id = "
        f"'{task}') insert into user_metadata_embeddings"
        " (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)"
        f" values (%(me)s, 'task', '{task}', 'x', array_fill(0.1::real, array[1536])::halfvec(1536), 'wordllama')"
        " returning id"
    )
    return {"me": ann.id, "task": task, "other": other}


async def waits(elsewhere: AsyncConnection[Any], ann: PipelineUser) -> None:
    """Until the other statement waits for a lock."""
    pid = elsewhere.info.backend_pid

    async def is_waiting() -> bool:
        rows = await ann.rows(f"select from pg_locks where pid = {pid} and not granted")
        return bool(rows)

    await until(is_waiting)


@pytest.mark.parametrize("edit", EDITS)
async def test_an_account_is_deleted_while_its_user_writes(
    ann: PipelineUser, app: Any, elsewhere: AsyncConnection[Any], edit: str
) -> None:
    values, (first, then) = await remember(ann), EDITS[edit]
    await app.execute(first, values)
    deletion = asyncio.create_task(elsewhere.execute("delete from auth.users where id = %s", (ann.id,)))
    await waits(elsewhere, ann)

    await asyncio.wait_for(app.execute(THEN[then], values), HELD)

    await app.commit()
    await asyncio.wait_for(deletion, HELD)
    assert await ann.rows("select from tasks where user_id = %(me)s") == []
    assert await ann.queued() == []


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    ("consent", "has_chosen"),
    [
        ("record_rag_snippets", True),
        ("record_rag_snippets", False),
        ("store_behavioral_embeddings", True),
        ("store_task_context", True),
    ],
)
async def test_a_consent_is_withdrawn_while_its_user_writes(
    db: Database, ann: PipelineUser, app: Any, edit: str, has_chosen: bool, consent: str
) -> None:
    if has_chosen:
        await ann.does("insert into user_analytics_preferences (user_id) values (%(me)s)")
    values, (first, then) = await remember(ann), EDITS[edit]
    await app.execute(first, values)
    async with db.as_user(ann.id) as other:
        pid = other.info.backend_pid
        withdrawal = asyncio.create_task(
            other.execute(
                f"insert into user_analytics_preferences (user_id, {consent}) values (%(me)s, false)"
                f" on conflict (user_id) do update set {consent} = false",
                values,
            )
        )
        await until(lambda: _is_waiting(ann, pid))

        await asyncio.wait_for(app.execute(THEN[then], values), HELD)

        await app.commit()
        await asyncio.wait_for(withdrawal, HELD)
    if consent == "record_rag_snippets":
        assert await ann.queued() == []
        assert await ann.remembered() == []


async def _is_waiting(ann: PipelineUser, pid: int) -> bool:
    return bool(await ann.rows(f"select from pg_locks where pid = {pid} and not granted"))


LOCKING = [
    ("conversations", "conversation_to_change", {"client_id": "c"}),
    ("memory", "lock_consents", {}),
]


@pytest.mark.parametrize(("module", "query", "named"), LOCKING)
async def test_an_account_is_deleted_while_the_server_writes_for_its_user(
    ann: PipelineUser, app: Any, elsewhere: AsyncConnection[Any], module: str, query: str, named: dict[str, Any]
) -> None:
    """Its transactions lock rows before they write any."""
    await getattr(load(module), query).value(app, user_id=ann.id, **named)
    deletion = asyncio.create_task(elsewhere.execute("delete from auth.users where id = %s", (ann.id,)))
    await waits(elsewhere, ann)

    await asyncio.wait_for(app.execute(THEN["a task"], {"me": ann.id}), HELD)

    await app.commit()
    await asyncio.wait_for(deletion, HELD)


async def test_a_turn_ends_while_its_account_is_deleted(
    ann: PipelineUser, app: Any, elsewhere: AsyncConnection[Any]
) -> None:
    await ann.does("insert into ai_quota_months (user_id, month, used, reserved) values (%(me)s, '2026-11-01', 0, 1)")
    await load("chat").lock_quota_month.value(app, user_id=ann.id, month="2026-11-01")
    deletion = asyncio.create_task(elsewhere.execute("delete from auth.users where id = %s", (ann.id,)))
    await waits(elsewhere, ann)

    await asyncio.wait_for(app.execute(THEN["a task"], {"me": ann.id}), HELD)

    await app.commit()
    await asyncio.wait_for(deletion, HELD)


async def test_an_account_is_deleted_in_the_middle_of_an_edit(
    ann: PipelineUser, app: Any, elsewhere: AsyncConnection[Any], owner_url: str
) -> None:
    """One statement: it holds the profile, and waits before it queues what that changes."""
    await ann.does("update user_profiles set timezone = 'Asia/Tokyo' where id = %(me)s")
    async with await AsyncConnection.connect(owner_url) as worker:
        await worker.execute("delete from embedding_queue where user_id = %s", (ann.id,))
        edit = asyncio.create_task(
            app.execute("update user_profiles set timezone = 'Europe/Paris' where id = %(me)s", {"me": ann.id})
        )
        pid = app.info.backend_pid
        await until(lambda: _is_waiting(ann, pid))
        deletion = asyncio.create_task(elsewhere.execute("delete from auth.users where id = %s", (ann.id,)))
        await waits(elsewhere, ann)

    await asyncio.wait_for(edit, HELD)
    await app.commit()
    await asyncio.wait_for(deletion, HELD)


async def test_an_edit_and_a_preference_in_one_transaction_end(db: Database, ann: PipelineUser, app: Any) -> None:
    """Each has its share already; to want the whole would be to wait for each other."""
    await app.execute("update user_profiles set first_name = 'Ann' where id = %(me)s", {"me": ann.id})
    async with db.as_user(ann.id) as other:
        pid = other.info.backend_pid
        edit = asyncio.create_task(
            other.execute("update user_profiles set timezone = 'Asia/Tokyo' where id = %(me)s", {"me": ann.id})
        )
        await until(lambda: _is_waiting(ann, pid))

        await asyncio.wait_for(
            app.execute(
                "insert into user_analytics_preferences (user_id) values (%(me)s) on conflict do nothing",
                {"me": ann.id},
            ),
            HELD,
        )

        await app.commit()
        await asyncio.wait_for(edit, HELD)


async def test_every_function_that_locks_rows_locks_the_user_first(owner: Any) -> None:
    rows = await owner.execute(
        "select proname, prosrc from pg_proc"
        " where pronamespace = 'coach'::regnamespace and prosrc ~ 'for [a-z ]*(share|update)'"
    )
    late = set()
    for name, source in await rows.fetchall():
        lock = LOCKS.search(source)
        if lock and not 0 <= source.find("coach.lock_user(") < lock.start():
            late.add(name)

    assert late == {
        "lock_user_exclusively",
        "lock_user",
        "lock_writing_user",
        "lock_serving_model",
        "apply_consent_change",
    }, "the last two after their callers' lock_user or lock_user_exclusively"


async def test_a_checkpoint_waits_for_no_lock(db: Database, ann: PipelineUser, app: Any, owner_url: str) -> None:
    """It writes the turns of many people in one transaction: whoever holds one of them must not hold up the others."""
    await ann.does(
        "insert into turn_checkpoints (user_id, message_id, owner, heartbeat)"
        " select user_id, id, 'me', now() from ai_conversation_memory where user_id = %(me)s"
    )
    async with await AsyncConnection.connect(owner_url) as deleting:
        await deleting.execute("select from coach.accounts where user_id = %s for update", (ann.id,))
        await asyncio.wait_for(ann.does("update turn_checkpoints set heartbeat = now() where user_id = %(me)s"), HELD)


LOCKS = re.compile(r"\bfor (no key )?(update|key share|share)\b(?! of \w+ skip locked| skip locked)")

HELD_BEFORE = {
    "lock_messages": "after lock_user, in the same transaction",
    "fill_snippet": "after lock_user, in the same transaction",
    "fill_message": "after lock_user, in the same transaction",
}


def test_every_query_that_locks_rows_locks_the_user_first() -> None:
    locking = set()
    for file in (SQL / "queries").glob("*.sql"):
        for query in re.split("^-- name: ", file.read_text(), flags=re.MULTILINE)[1:]:
            body = "\n".join(line for line in query.splitlines() if not line.startswith("--"))
            if LOCKS.search(body) and "coach.lock_" not in body:
                locking.add(query[: query.index("(")])

    assert locking == set(HELD_BEFORE)
