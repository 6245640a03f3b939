"""Texts that one model takes and the next refuses: found by the old one while it serves, then seen as given up."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from coach.database.pool import Database
from coach.errors import EmbedderUnavailable
from coach.pipeline.queue import ATTEMPTS
from coach.pipeline.worker import Worker
from coach.retrieval.base import Vector
from coach.retrieval.context import Question, Retriever
from coach.retrieval.search import Scope
from tests.integration.pipeline.conftest import PipelineUser
from tests.integration.pipeline.test_messages import grown_old, says, vectors
from tests.integration.pipeline.test_reembed import ALL, A, C, Named, finished, models

DEAD = """
    select entity_table from embedding_queue
    where user_id = %(me)s and not_before = 'infinity' and last_error is not null
    order by entity_table
"""
SERVING = "select serving_model from embedding_models where user_id = %(me)s"
VECTORS = """
    select embedding_model, title from user_metadata_embeddings where user_id = %(me)s order by embedding_model, title
"""


class Fussy(Named):
    """Refuses whatever has the word poison in it, and with it the whole request."""

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        if any("poison" in text for text in texts):
            raise EmbedderUnavailable("The embedder answered with 400.")
        return await super().embed_documents(texts)


FUSSY = Fussy("model-b", 1)


async def passed(person: PipelineUser, worker: Worker, attempts: int = ATTEMPTS + 1) -> None:
    """All the attempts that are left, without the waits between them."""
    for _ in range(attempts):
        await person.does("update embedding_queue set not_before = now() where not_before < 'infinity'")
        await person.does("update embedding_models set leased_until = '-infinity'")
        await finished(worker)


@pytest.fixture
async def worker(ann: PipelineUser, worker_db: Database) -> Worker:
    """Of the fussy model, after another has embedded a harmless task, a poisoned one and a poisoned message."""
    await ann.adds_task("Rest the knee")
    await ann.adds_task("This is poison")
    await says(ann, "What is poison to me?")
    await grown_old(ann)
    await finished(Worker(worker_db, A))
    assert await ann.queued() == []
    return Worker(worker_db, FUSSY, build=ALL.get)


async def test_the_old_vectors_of_refused_texts_serve_until_the_switch(
    ann: PipelineUser, worker: Worker, db: Database
) -> None:
    await passed(ann, worker, attempts=3)

    assert await ann.rows(VECTORS) == [
        ("model-a", "Rest the knee"),
        ("model-a", "This is poison"),
        ("model-b", "Rest the knee"),
    ]
    assert await vectors(ann) == [("model-a", True, True)]
    question = "Something that is bad for me"
    found = await Retriever(A).combined_context(
        db, ann.id, Question(question, await A.embed_query(question)), Scope(is_ranking=True)
    )
    assert {source.title for source in found.sources} >= {"This is poison", "Rest the knee"}
    assert [table for table, _ in await ann.queued()] == ["ai_conversation_memory", "tasks"]


@pytest.mark.parametrize(("kind", "other"), [("tasks", "ai_conversation_memory"), ("ai_conversation_memory", "tasks")])
async def test_a_refused_text_of_either_kind_holds_its_users_switch_until_it_is_given_up(
    ann: PipelineUser, worker: Worker, kind: str, other: str
) -> None:
    await ann.does(f"delete from {other}")

    await passed(ann, worker, attempts=3)
    assert await ann.queued() == [(kind, 1)]
    assert await ann.rows(SERVING) == [("model-a",)]

    await passed(ann, worker)
    assert await ann.rows(DEAD) == [(kind,)]
    assert await ann.rows(SERVING) == [("model-b",)]


async def test_after_the_switch_they_alone_are_dead_letters_and_without_a_vector(
    ann: PipelineUser, worker: Worker
) -> None:
    await passed(ann, worker)

    assert await models(ann) <= {None, "model-b"}
    assert await ann.rows(VECTORS) == [("model-b", "Rest the knee")]
    assert await ann.rows(DEAD) == [("ai_conversation_memory",), ("tasks",)]
    assert await vectors(ann) == [(None, False, False)]
    assert ("metadata_embedding_error", "tasks", "error") in await ann.audit()


async def test_a_model_that_takes_them_gets_them_back(ann: PipelineUser, worker: Worker, worker_db: Database) -> None:
    await passed(ann, worker)

    await finished(Worker(worker_db, C, build=ALL.get))

    assert await models(ann) == {"model-c"}
    assert await ann.rows(VECTORS) == [("model-c", "Rest the knee"), ("model-c", "This is poison")]
    assert await ann.queued() == []


async def test_an_edit_that_only_the_serving_model_takes_is_found_by_it(ann: PipelineUser, worker: Worker) -> None:
    await ann.does("update tasks set name = 'Fresh poison' where name = 'Rest the knee'")

    await passed(ann, worker, attempts=1)

    assert await ann.rows(VECTORS) == [("model-a", "Fresh poison"), ("model-a", "This is poison")]
    await passed(ann, worker)
    assert await ann.rows(VECTORS) == []


async def test_a_refused_text_delays_no_other_user(
    ann: PipelineUser, worker: Worker, worker_db: Database, owner
) -> None:  # type: ignore[no-untyped-def]
    """Whose texts are all taken is switched while the others' are still being tried."""
    ben = PipelineUser(UUID(int=ann.id.int ^ 1), owner, ann._db)
    await owner.execute("insert into auth.users (id) values (%s)", (ben.id,))
    await ben.adds_task("Walk the dog")
    await ben.does("insert into embedding_models (user_id, serving_model) values (%(me)s, 'model-a')")

    await finished(worker)

    assert await models(ben) == {"model-b"}
    assert "model-a" in await models(ann)


async def test_what_a_row_said_before_it_was_given_up_is_not_found_for_ever(
    ann: PipelineUser, worker_db: Database
) -> None:
    await ann.adds_task("What nobody must find any more")
    worker = Worker(worker_db, Fussy("model-a", 0))
    await finished(worker)
    await ann.does("update tasks set name = 'Only poison is left'")

    await passed(ann, worker)

    assert await ann.rows(DEAD) == [("tasks",)]
    assert await ann.remembered() == []


async def test_a_refused_chunk_takes_its_entry_nowhere(ann: PipelineUser, worker_db: Database) -> None:
    text = "My knee hurts again today. " * 60 + "This is poison. " + "My knee hurts again today. " * 60
    await ann.does("insert into journal_entries (user_id, title, content) values (%(me)s, 'Knee', %(t)s)", t=text)

    await finished(Worker(worker_db, Fussy("model-a", 0)))

    assert len(await ann.remembered("journal_entry")) > 2
    assert not any("poison" in text for text in await ann.remembered("journal_entry"))
    assert [table for table, _ in await ann.queued()] == ["journal_entries"]
