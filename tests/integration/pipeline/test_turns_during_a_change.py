"""Turns that end while their user's embedding model is being changed: no vector of the wrong model, none missing."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from coach.chat.choice import Choice
from coach.chat.events import Quota
from coach.chat.memory import MessageMemory
from coach.chat.opened import Opened, Reservation
from coach.chat.prompt import Prompts
from coach.database.pool import Database
from coach.models.offline import OfflineModel
from coach.pipeline.reembed import Reembedding
from coach.pipeline.worker import Worker
from tests.integration.pipeline.conftest import PipelineUser
from tests.integration.pipeline.test_messages import says
from tests.integration.pipeline.test_reembed import ALL, A, B, Named, finished

KEPT = """
    select m.embedding_model, s.embedding_model
    from ai_conversation_memory m
    left join message_embeddings s on s.user_id = m.user_id and s.message_id = m.id
    where m.user_id = %(me)s
    order by m.created_at
"""

NOT_DUE = "select from embedding_queue where user_id = %(me)s and not_before > now()"


async def turn_of(person: PipelineUser, question: str, answer: str) -> Opened:
    """A turn whose messages are stored, as it is when it has just ended."""
    asked, answered, now = await says(person, question), await says(person, answer), datetime.now(UTC)
    return Opened(
        reservation=Reservation(person.id, uuid4(), answered, uuid4(), date(2026, 11, 1), 150),
        choice=Choice("offline", OfflineModel(), Prompts()["goal_coaching"], 1_000),
        conversation_key="c",
        question_id=asked,
        question_key="q",
        answer_key="a",
        feature="goal_coaching",
        text=question,
        quota=Quota(150, 1, 149, now),
        timezone=ZoneInfo("UTC"),
        may_embed=True,
        started=now,
    )


@pytest.fixture
async def changing(ann: PipelineUser, worker_db: Database) -> Worker:
    """A worker that has filled in everything of a new model but has not switched yet."""
    await ann.adds_task("Rest the knee")
    await finished(Worker(worker_db, A, build=ALL.get))
    worker = Worker(worker_db, B, build=ALL.get)
    while "model-b" not in await _fact_models(ann):
        assert await worker.work()
    assert await _serving(ann) == "model-a"
    return worker


@pytest.mark.parametrize("server", [A, B], ids=["the old model", "the new model"])
async def test_a_turn_during_a_change_has_both_models_before_the_switch(
    ann: PipelineUser, db: Database, changing: Worker, server: Named
) -> None:
    turn = await turn_of(ann, "My knee hurts.", "Rest it.")

    await MessageMemory(db, server).remember(turn, "Rest it.")

    # A server of the new model leaves it to the worker: the serving one's vector is not its to make.
    assert await ann.rows(KEPT) == [("model-a" if server is A else None, None)] * 2
    assert await ann.rows(NOT_DUE) == [], "nor has it to wait half a minute for a turn that is over"
    while await _serving(ann) == "model-a":
        assert await changing.work()
    assert await ann.rows(KEPT) == [("model-b", None)] * 2
    assert await ann.queued() == []


@pytest.mark.parametrize("server", [A, B], ids=["the old model", "the new model"])
async def test_a_switch_between_embedding_and_storing_lets_no_vector_of_the_old_model_in(
    ann: PipelineUser, db: Database, changing: Worker, server: Named
) -> None:
    class Slow(Named):
        async def embed_documents(self, texts: Any) -> Any:
            vectors = await super().embed_documents(texts)
            while await _serving(ann) == "model-a":
                assert await changing.work()
            return vectors

    turn = await turn_of(ann, "My knee hurts.", "Rest it.")

    await MessageMemory(db, Slow(server.model, server._turn)).remember(turn, "Rest it.")

    assert await ann.rows(KEPT) == [("model-b" if server is B else None, None)] * 2
    assert await ann.rows(NOT_DUE) == []
    await finished(changing)
    assert await ann.rows(KEPT) == [("model-b", None)] * 2


async def test_the_model_of_a_users_first_vectors_serves_them(
    ann: PipelineUser, db: Database, worker_db: Database, owner: Any
) -> None:
    """Of a user without a row in embedding_models: the app's own job may embed, too."""
    await ann.adds_task("Rest the knee")
    await finished(Worker(worker_db, A, build=ALL.get))
    await owner.execute("delete from embedding_models where user_id = %s", (ann.id,))
    turn = await turn_of(ann, "My knee hurts.", "Rest it.")

    await MessageMemory(db, B).remember(turn, "Rest it.")

    assert await _serving(ann) == "model-a"
    assert await ann.rows(KEPT) == [(None, None)] * 2
    await finished(Worker(worker_db, B, build=ALL.get))
    assert await ann.rows(KEPT) == [("model-b", None)] * 2
    assert await _fact_models(ann) == {"model-b"}


async def test_a_first_turn_on_two_servers_of_two_models_serves_one(ann: PipelineUser, db: Database) -> None:
    old, new = await turn_of(ann, "One", "1"), await turn_of(ann, "Two", "2")

    await MessageMemory(db, A).remember(old, "1")
    await MessageMemory(db, B).remember(new, "2")

    assert await _serving(ann) == "model-a"
    assert await ann.rows(KEPT) == [("model-a", None)] * 2 + [(None, None)] * 2


async def test_a_change_does_not_miss_a_message_that_is_stored_while_it_switches(
    ann: PipelineUser, db: Database, worker_db: Database, changing: Worker
) -> None:
    """The switch waits for whoever holds the row of the serving model, and then counts again."""
    message = await says(ann, "My knee hurts.")
    [vector] = await A.embed_documents(["My knee hurts."])
    async with db.as_user(ann.id) as tx:
        await tx.execute("select from embedding_models where user_id = %s for share", (ann.id,))
        await _store(tx, ann.id, message, vector)
        assert await Reembedding(worker_db, B)._unfilled(ann.id, "model-a") == []
    while await _serving(ann) == "model-a":
        assert await changing.work()

    assert await ann.rows(KEPT) == [("model-b", None)]


async def _store(tx: Any, user_id: UUID, message: UUID, vector: Any) -> None:
    await tx.execute(
        "update ai_conversation_memory set message_embedding = %s::real[]::vector(1536)::halfvec(1536),"
        " embedding_model = 'model-a' where user_id = %s and id = %s",
        (vector.tolist(), user_id, message),
    )
    await tx.execute("delete from embedding_queue where user_id = %s and entity_id = %s", (user_id, message))


async def _serving(person: PipelineUser) -> str:
    [(model,)] = await person.rows("select serving_model from embedding_models where user_id = %(me)s")
    return str(model)


async def _fact_models(person: PipelineUser) -> set[str]:
    rows = await person.rows("select embedding_model from user_metadata_embeddings where user_id = %(me)s")
    return {model for (model,) in rows}


async def test_a_consent_withdrawn_while_a_turn_is_embedded_lets_no_vector_in(ann: PipelineUser, db: Database) -> None:
    class Withdrawing(Named):
        async def embed_documents(self, texts: Any) -> Any:
            await ann.does(
                "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, false)"
            )
            return await super().embed_documents(texts)

    turn = await turn_of(ann, "My knee hurts.", "Rest it.")

    await MessageMemory(db, Withdrawing("model-a", 0)).remember(turn, "Rest it.")

    assert await ann.rows(KEPT) == [(None, None)] * 2
    assert await ann.queued() == []
