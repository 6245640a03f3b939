"""What lists and searches read of a long past: pages of the database, counted, not seconds."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from coach.conversations import memory, messages, repository
from coach.database.pool import Database

MESSAGES = 10_000


@pytest.fixture(scope="module")
def _past() -> dict[str, UUID]:
    return {}


@pytest.fixture
async def person(_past: dict[str, UUID], new_user: Any, owner: Any) -> UUID:
    """With 10,000 messages: half of them in one conversation, the others in 500 short ones; and 2,000 snippets.

    Another person has as many with the same words, so that an index by word alone would read theirs too.
    """
    if "ann" not in _past:
        _past["ann"], _past["ben"] = await new_user(), await new_user()
        for user in _past.values():
            await owner.execute(FILL, {"me": user, "count": MESSAGES})
        # As autovacuum leaves it: else each search of words reads the list of what the index has not taken in yet.
        await owner.execute("vacuum analyze conversations, ai_conversation_memory, user_metadata_embeddings")
    return _past["ann"]


FILL = """
with me as (select %(me)s::uuid as id),
threads as (
    insert into conversations (user_id, client_id, title, created_at, updated_at)
    select me.id, 'c' || n, 'TerminalChat ' || n, now() - n * interval '1 hour', now() - n * interval '1 hour'
    from me, generate_series(0, 500) n
    returning id, client_id
),
said as (
    select
        gen_random_uuid() as id,
        case when n %% 2 = 0 then 0 else n / 20 + 1 end as thread,
        n,
        case when n %% 1000 = 0 then 'A rare axolotl ' else '' end
            || case when n %% 997 = 0 then '膝盖很疼 ' else '' end
            || 'We spoke of running and of number ' || n as content
    from generate_series(0, %(count)s - 1) n
),
placed as (
    select said.*, threads.id as conversation_id, lag(said.id) over (partition by threads.id order by n) as parent_id
    from said
    join threads on threads.client_id = 'c' || least(said.thread, 500)
),
stored as (
    insert into ai_conversation_memory (
        user_id, id, conversation_id, client_id, parent_id, message_role, message_content, conversation_date,
        created_at, message_embedding, embedding_model
    )
    select
        me.id, p.id, p.conversation_id, 'm' || p.n, p.parent_id,
        case when p.n %% 4 < 2 then 'user' else 'assistant' end, p.content,
        now() - (%(count)s - p.n) * interval '1 minute', now() - (%(count)s - p.n) * interval '1 minute',
        array_fill((p.n %% 7)::real + 1, '{1536}')::vector(1536), 'wordllama'
    from placed p, me
),
facts as (
    insert into user_metadata_embeddings (
        user_id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model, updated_at
    )
    select
        me.id, 'journal_entry', md5(me.id::text || n / 2)::uuid, n %% 2, 'Day', 'A day ' || n,
        array_fill(1::real, '{1536}')::vector(1536), 'wordllama', now() - n * interval '1 minute'
    from me, generate_series(0, 1999) n
)
insert into embedding_models (user_id, serving_model)
select id, 'wordllama' from me
""".encode()


async def pages_of(db: Database, person: UUID, query: str, **values: object) -> int:
    """Pages that a statement of a user's touches, in memory or not."""
    async with db.as_user(person) as tx:
        await tx.execute(query.encode(), values)  # once before: a session reads the catalog when it first meets a table
        cursor = await tx.execute(f"explain (analyze, buffers, format json) {query}".encode(), values)
        row = await cursor.fetchone()
        assert row is not None
        plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def sql_of(domain: str, name: str) -> str:
    from coach.database.queries import load

    return str(getattr(load(domain), name).sql)


PAGE = {"before": None, "before_id": None, "limit": 51}


async def test_the_list_reads_its_page(db: Database, person: UUID) -> None:
    query = sql_of("conversations", "conversations")

    assert await pages_of(db, person, query, user_id=person, archived=False, **PAGE) < 100


@pytest.mark.parametrize("start", ["m9998", "m5000"])
async def test_a_page_of_messages_costs_the_same_wherever_it_is(
    db: Database, person: UUID, owner: Any, start: str
) -> None:
    row = await owner.execute(
        "select id, conversation_id from ai_conversation_memory where user_id = %s and client_id = %s", (person, start)
    )
    from_id, conversation = await row.fetchone()

    pages = await pages_of(
        db,
        person,
        sql_of("conversations", "branch"),
        user_id=person,
        conversation_id=conversation,
        from_id=from_id,
        limit=50,
    )

    assert pages < 1_500


async def test_going_down_to_a_leaf_reads_no_more_than_the_way(db: Database, person: UUID, owner: Any) -> None:
    row = await owner.execute(
        "select id from ai_conversation_memory where user_id = %s and client_id = 'm9980'", (person,)
    )
    (from_id,) = await row.fetchone()

    assert await pages_of(db, person, sql_of("conversations", "newest_leaf_below"), user_id=person, id=from_id) < 150


@pytest.mark.parametrize(
    ("words", "runs", "found"), [("axolotl", [], 1), ("", ["膝盖"], 6), ("number 77", [], 1), ("nowhere", [], 0)]
)
async def test_a_search_for_rare_words_goes_by_the_index(
    db: Database, person: UUID, words: str, runs: list[str], found: int
) -> None:
    query = "select * from coach.conversations_with_words(%(me)s, %(words)s, '{}', %(runs)s)"

    pages = await pages_of(db, person, query, me=person, words=words, runs=runs)

    assert pages < 150
    page = await repository.listed(db, person, q=" ".join([words, *runs]), archived=False, limit=50, cursor=None)
    assert len(page.items) == found


@pytest.mark.parametrize("name", ["list_remembered_snippets", "list_remembered_messages"])
async def test_a_page_of_memories_reads_its_page(db: Database, person: UUID, name: str) -> None:
    values = {"user_id": person, **PAGE} | (
        {"model": "wordllama", "source": None} if name == "list_remembered_snippets" else {}
    )

    assert await pages_of(db, person, sql_of("memory", name), **values) < 1_000


async def test_all_of_a_long_past_can_be_paged_through(db: Database, person: UUID) -> None:
    texts: list[str] = []
    cursor = None
    while True:
        page = (
            await messages.messages(db, person, "c0", leaf=None, limit=200, cursor=cursor)
            if texts or cursor
            else (await messages.messages(db, person, "c0", leaf="m9998", limit=200, cursor=None))
        )
        texts[:0] = [item.parts[-1]["text"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(texts) == MESSAGES // 2

    seen: list[UUID] = []
    cursor = None
    while True:
        remembered = await memory.listed(db, person, source="journal_entry", limit=200, cursor=cursor)
        seen += [item.id for item in remembered.items]
        cursor = remembered.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 1_000
