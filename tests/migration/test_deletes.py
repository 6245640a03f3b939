"""What a delete takes along, and what it leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection, sql

Owner = AsyncConnection[Any]
Tables = dict[str, sql.Identifier]
Furnish = Callable[[], Awaitable[UUID]]
Value = Callable[..., Awaitable[Any]]


async def test_an_account_goes_with_everything_of_it_and_nothing_of_others(
    owner: Owner, furnished: Furnish, tables: Tables
) -> None:
    ann, ben = await furnished(), await furnished()
    await owner.execute("insert into tasks (user_id, parent_task_id, name) values (%s, %s, 'sub')", (ann, ann))
    await owner.execute("insert into areas (user_id, pillar_id, name) values (%s, %s, 'Sleep')", (ann, ann))
    await owner.execute(
        """
        insert into ai_conversation_memory (user_id, conversation_id, parent_id, message_role, message_content)
        values (%s, %s, %s, 'user', 'and then?')
        """,
        (ann, ann, ann),
    )

    await owner.execute("delete from auth.users where id = %s", (ann,))

    for name, table in tables.items():
        key = sql.Identifier("id" if name == "user_profiles" else "user_id")
        count = sql.SQL(
            "select count(*) filter (where {key} = {ann}), count(*) filter (where {key} = {ben}) from {table}"
        )
        found = await owner.execute(count.format(key=key, ann=sql.Literal(ann), ben=sql.Literal(ben), table=table))
        assert await found.fetchone() == (0, 1), name


async def test_the_areas_of_a_deleted_pillar_stay(owner: Owner, furnished: Furnish, browser: Any) -> None:
    ann = await furnished()

    async with browser(ann) as connection:
        await connection.execute("delete from pillars where user_id = %s", (ann,))

    row = await owner.execute("select pillar_id, name from areas where user_id = %s", (ann,))
    assert await row.fetchone() == (None, "Running")


async def test_an_area_takes_projects_tasks_sub_tasks_and_their_vectors_along(
    owner: Owner, furnished: Furnish, browser: Any, value: Value
) -> None:
    ann, ben = await furnished(), await furnished()
    await owner.execute("insert into tasks (user_id, parent_task_id, name) values (%s, %s, 'sub')", (ann, ann))

    async with browser(ann) as connection:
        await connection.execute("delete from areas where user_id = %s", (ann,))

    assert await value(owner, "select count(*) from tasks where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ben) == 1


@pytest.mark.parametrize("known", ["these rows", "others' few rows", "those of an idle day"])
async def test_deleting_thousands_of_tasks_reads_each_row_a_few_times(
    owner: Owner, owner_url: str, furnished: Furnish, value: Value, known: str
) -> None:
    """Whatever is known of the tables: every index begins with the person, and in thousands of theirs one that goes on
    with another column than the statement asks for reads all of them for each. Five thousand were 25 million reads."""
    for _ in range(30):
        ann = await furnished()
    await owner.execute("analyze")
    async with await AsyncConnection.connect(owner_url, autocommit=True) as app:
        if known == "those of an idle day":
            await owner.execute("delete from embedding_queue")
            await owner.execute("vacuum analyze embedding_queue")
            await _keeps_its_plans(app, ann)
        await _five_thousand_tasks(owner, ann)
        if known == "these rows":
            await owner.execute("analyze")

        async with app.transaction():
            await app.execute("delete from projects where user_id = %s", (ann,))
            rows = await app.execute("""
                select relname, seq_tup_read + idx_tup_fetch
                from pg_stat_xact_user_tables
                where relname in ('tasks', 'embedding_queue', 'user_metadata_embeddings')
            """)
            read = dict(await rows.fetchall())

    assert {table: times for table, times in read.items() if times > 5 * 5000} == {}
    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from tasks where user_id = %s", ann) == 0


async def _keeps_its_plans(app: Owner, person: UUID) -> None:
    """After the sixth time a statement within a function is not planned again."""
    for _ in range(8):
        await app.execute("insert into tasks (user_id, name) values (%s, 'Rest')", (person,))
        await app.execute("delete from tasks where user_id = %s and name = 'Rest'", (person,))


async def _five_thousand_tasks(owner: Owner, person: UUID) -> None:
    await owner.execute(
        "insert into tasks (user_id, project_id, name) select %s, %s, n::text from generate_series(1, 5000) n",
        (person, person),
    )
    await owner.execute(
        """
        insert into user_metadata_embeddings (user_id, domain_tag, entity_id, text_snippet, embedding, embedding_model)
        select user_id, 'task', id, name, array_fill(0.1::real, array[1536])::vector(1536)::halfvec(1536), 'other'
        from tasks
        where user_id = %s
        """,
        (person,),
    )


async def test_a_conversation_takes_its_messages_and_their_answers_along(
    owner: Owner, furnished: Furnish, value: Value
) -> None:
    ann = await furnished()

    await owner.execute("delete from conversations where user_id = %s", (ann,))

    for table in (
        "ai_conversation_memory",
        "message_embeddings",
        "turn_checkpoints",
        "coaching_sessions",
        "commitments",
    ):
        assert await value(owner, f"select count(*) from {table} where user_id = %s", ann) == 0
    assert await value(owner, "select count(*) from ai_interactions where user_id = %s", ann) == 1


async def test_a_deleted_journal_entry_is_forgotten_at_once(owner: Owner, furnished: Furnish, value: Value) -> None:
    ann = await furnished()
    await owner.execute(
        "update user_metadata_embeddings set domain_tag = 'journal_entry', entity_id = %s where user_id = %s",
        (ann, ann),
    )

    await owner.execute("update journal_entries set deleted = true where user_id = %s", (ann,))

    assert await value(owner, "select count(*) from user_metadata_embeddings where user_id = %s", ann) == 0
