"""Loading a life: whole or not at all, once, as the user, under their consents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.life import Life
from coach.demo.load import is_loaded, load
from coach.demo.population import populate
from coach.errors import EmbedderUnavailable, Unauthenticated
from coach.evals.past import ranked
from coach.retrieval.base import Vector
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.conftest import NewUser

TABLES = (
    "pillars", "areas", "projects", "tasks", "journal_entries", "user_behavior_events", "conversations",
    "ai_conversation_memory", "user_metadata_embeddings",
)  # fmt: skip
EMBEDDER = WordllamaEmbedder()


@pytest.fixture(scope="module")
def maya() -> Life:
    return generate(DEMO_SEED, datetime.now(UTC).date())


@pytest.fixture
async def operator(owner_url: str) -> Any:
    database = Database(owner_url)
    await database.open()
    yield database
    await database.close()


class Failing(WordllamaEmbedder):
    """An embedder that goes away in the middle."""

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        raise EmbedderUnavailable


async def counts(db: Database, user: UUID) -> dict[str, int]:
    async with db.as_user(user) as tx:
        return {table: (await (await tx.execute(f"select count(*) from {table}")).fetchone())[0] for table in TABLES}


async def consent(owner: AsyncConnection[Any], user: UUID, withheld: str) -> None:
    await owner.execute(f"insert into user_analytics_preferences (user_id, {withheld}) values (%s, false)", (user,))


async def test_every_row_of_the_life_is_there(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    assert await load(db, EMBEDDER, user, maya)
    found = await counts(db, user)
    assert found["tasks"] == len(maya.tasks)
    assert found["journal_entries"] == len(maya.journal_entries)
    assert found["user_behavior_events"] == len(maya.flow_events)
    assert found["ai_conversation_memory"] == sum(len(talk.messages) for talk in maya.conversations)
    sources = sum(found[table] for table in ("pillars", "areas", "projects", "tasks", "journal_entries"))
    assert found["user_metadata_embeddings"] >= sources
    async with db.as_user(user) as tx:
        named = await (await tx.execute("select first_name, timezone, daily_streak from user_profiles")).fetchone()
        points = await (await tx.execute("select min(jsonb_array_length(behavior_metrics)) from areas")).fetchone()
        bare = await (
            await tx.execute("select count(*) from ai_conversation_memory where message_embedding is null")
        ).fetchone()
    assert named == ("Maya", "Europe/Berlin", maya.daily_streak)
    assert points[0] >= 363  # one may have left retention between writing and reading
    assert bare == (0,)


async def test_loading_twice_changes_nothing(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    assert not await is_loaded(db, user)
    await load(db, EMBEDDER, user, maya)
    before = await counts(db, user)
    assert await is_loaded(db, user)
    assert not await load(db, EMBEDDER, user, maya)
    assert await counts(db, user) == before


async def test_weeks_later_the_life_stays_as_it_was(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    await load(db, EMBEDDER, user, generate(DEMO_SEED, date(2026, 10, 1)))
    assert not await load(db, EMBEDDER, user, maya)


async def test_of_two_starts_at_once_one_loads(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    loaded = await asyncio.gather(load(db, EMBEDDER, user, maya), load(db, EMBEDDER, user, maya))
    assert sorted(loaded) == [False, True]
    assert (await counts(db, user))["tasks"] == len(maya.tasks)


async def test_a_user_with_a_task_of_their_own_is_left_alone(
    db: Database, owner: AsyncConnection[Any], new_user: NewUser, maya: Life
) -> None:
    user = await new_user()
    await owner.execute("insert into tasks (user_id, name) values (%s, 'mine')", (user,))
    assert not await load(db, EMBEDDER, user, maya)
    assert (await counts(db, user))["tasks"] == 1


async def test_an_embedder_that_fails_leaves_nothing_half_done(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    with pytest.raises(EmbedderUnavailable):
        await load(db, Failing(), user, maya)
    assert set((await counts(db, user)).values()) == {0}


async def test_loading_a_life_changes_no_other_users_rows(db: Database, new_user: NewUser, maya: Life) -> None:
    user, other = await new_user(), await new_user()
    await load(db, EMBEDDER, user, maya)
    assert set((await counts(db, other)).values()) == {0}


async def test_without_the_consent_to_remember_nothing_is_embedded(
    db: Database, owner: AsyncConnection[Any], new_user: NewUser, maya: Life
) -> None:
    user = await new_user()
    await consent(owner, user, "record_rag_snippets")
    assert await load(db, EMBEDDER, user, maya)
    found = await counts(db, user)
    assert found["tasks"] == len(maya.tasks)
    assert found["user_metadata_embeddings"] == 0
    embedded = await owner.execute(
        "select count(*) from ai_conversation_memory where user_id = %s and message_embedding is not null", (user,)
    )
    assert await embedded.fetchone() == (0,)


@pytest.mark.parametrize(
    ("withheld", "query"),
    [
        ("track_flow_states", "select count(*) from user_behavior_events where user_id = %s"),
        ("analytics_consent", "select count(*) from user_behavior_events where user_id = %s"),
        ("track_pillar_metrics", "select sum(jsonb_array_length(behavior_metrics)) from pillars where user_id = %s"),
        (
            "store_behavioral_embeddings",
            "select count(*) from user_metadata_embeddings where user_id = %s and domain_tag = 'journal_entry'",
        ),
        (
            "store_task_context",
            "select count(*) from user_metadata_embeddings where user_id = %s and text_snippet like '%% energy; %%'",
        ),
    ],
)
async def test_what_a_consent_keeps_out_is_left_out(
    db: Database, owner: AsyncConnection[Any], new_user: NewUser, maya: Life, withheld: str, query: str
) -> None:
    user = await new_user()
    await consent(owner, user, withheld)
    assert await load(db, EMBEDDER, user, maya)
    assert await (await owner.execute(query, (user,))).fetchone() == (0,)


async def test_the_loaded_life_can_be_asked(db: Database, new_user: NewUser, maya: Life) -> None:
    user, question = await new_user(), "Is my MRI for the knee booked?"
    await load(db, EMBEDDER, user, maya)
    found = await ranked(db, user, question, EMBEDDER, 10)
    assert "Book the follow-up MRI of the left knee" in [source.title for source in found]


async def test_a_life_loads_within_seconds(db: Database, new_user: NewUser, maya: Life) -> None:
    user = await new_user()
    await EMBEDDER.embed_query("warm")
    began = time.perf_counter()
    await load(db, EMBEDDER, user, maya)
    assert time.perf_counter() - began < 15  # .8 s on two cores with a load average of 3


async def test_a_population_is_made_once_and_each_has_an_own_life(operator: Database) -> None:
    today, heard = datetime.now(UTC).date(), []
    people = await populate(operator, EMBEDDER, 3, today, progress=lambda done, of: heard.append((done, of)))
    before = [await counts(operator, person) for person in people]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert await populate(operator, EMBEDDER, 3, today) == people
    assert [await counts(operator, person) for person in people] == before
    async with operator.as_operator() as tx:
        rows = await tx.execute(
            "select username, first_name from user_profiles where id = any(%s) order by 1", (people,)
        )
        named = await rows.fetchall()
    assert [name for name, _ in named] == ["demo-0001", "demo-0002", "demo-0003"]
    assert len({first for _, first in named}) == 3


async def test_an_account_that_does_not_exist_gets_no_life(db: Database, maya: Life) -> None:
    with pytest.raises(Unauthenticated, match="has no account"):
        await load(db, EMBEDDER, uuid4(), maya)
