"""A change of model: the old one serves until the new one is complete, and no question is ever compared with both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from coach.database.pool import Database
from coach.errors import EmbedderUnavailable
from coach.pipeline.worker import Worker
from coach.retrieval.base import Vector
from coach.retrieval.context import Question, Retriever
from coach.retrieval.search import Scope
from coach.retrieval.wordllama import WordllamaEmbedder
from tests.integration.pipeline.conftest import PipelineUser, until
from tests.integration.pipeline.test_messages import grown_old, says, vectors


class Named(WordllamaEmbedder):
    """The offline embedder under another name, its vectors turned so that comparing the two would show."""

    def __init__(self, model: str, turn: int) -> None:
        self.model = model  # type: ignore[misc]
        self._turn = turn

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        vectors = await super().embed_documents(texts)
        return vectors[:, ::-1].copy() * -1 if self._turn else vectors


class Away(Named):
    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        raise EmbedderUnavailable("gone", is_refusal=True)


A, B, C = Named("model-a", 0), Named("model-b", 1), Named("model-c", 0)
ALL = {embedder.model: embedder for embedder in (A, B, C)}


async def finished(worker: Worker) -> None:
    while await worker.work():
        pass


async def models(person: PipelineUser) -> set[str]:
    rows = await person.rows(
        "select embedding_model from user_metadata_embeddings where user_id = %(me)s"
        " union select embedding_model from ai_conversation_memory where user_id = %(me)s"
        " union select embedding_model from message_embeddings where user_id = %(me)s"
        " union select serving_model from embedding_models where user_id = %(me)s"
    )
    return {model for (model,) in rows}


async def test_the_old_model_serves_until_the_new_one_is_complete(
    ann: PipelineUser, worker_db: Database, db: Database
) -> None:
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 400) n")
    await says(ann, "My knee hurts.")
    await grown_old(ann)
    await finished(Worker(worker_db, A, build=ALL.get))
    assert await models(ann) == {"model-a"}
    changing = Worker(worker_db, B, build=ALL.get)

    await changing.work()

    assert await models(ann) == {"model-a", "model-b"}
    found = await Retriever(B, ALL.get).combined_context(
        db, ann.id, await Retriever(B).question("knee", may_embed=True)
    )
    assert "knee" in found.sources[0].text
    assert found.sources[0].score > 0
    await finished(changing)
    assert await models(ann) == {"model-b"}
    assert len(await ann.remembered()) == 400
    found = await Retriever(A, ALL.get).combined_context(
        db, ann.id, await Retriever(A).question("knee", may_embed=True)
    )
    assert "knee" in found.sources[0].text


async def test_a_server_that_cannot_ask_the_old_model_answers_by_words(
    ann: PipelineUser, worker_db: Database, db: Database
) -> None:
    await ann.adds_task("Rest the knee")
    await finished(Worker(worker_db, A))

    found = await Retriever(B).combined_context(db, ann.id, Question("knee", await B.embed_query("knee")))

    assert [source.title for source in found.sources] == ["Rest the knee"]


async def test_an_edit_during_a_change_is_kept_in_both_models_or_not_in_the_one_that_is_gone(
    ann: PipelineUser, worker_db: Database
) -> None:
    await ann.adds_task("Old words")
    await finished(Worker(worker_db, A))
    await ann.does("update tasks set name = 'New words'")

    await Worker(worker_db, B, build={"model-a": Away("model-a", 0)}.get).work()

    rows = await ann.rows("select embedding_model, text_snippet from user_metadata_embeddings where user_id = %(me)s")
    assert rows == [("model-b", "New words. Task. Open, medium priority.")]


async def test_an_outdated_worker_stands_aside(ann: PipelineUser, worker_db: Database) -> None:
    old, new = Worker(worker_db, A, build=ALL.get), Worker(worker_db, B, build=ALL.get)
    await finished(old)
    await finished(new)
    await ann.adds_task("Buy shoes")

    await finished(old)
    assert await ann.remembered() == []

    await finished(new)
    assert await models(ann) == {"model-b"}


async def test_two_changes_under_load_mix_nothing_and_lose_nothing(
    ann: PipelineUser, worker_db: Database, db: Database, owner: Any
) -> None:
    await ann.does("insert into tasks (user_id, name) select %(me)s, 'Task ' || n from generate_series(1, 600) n")
    for number in range(20):
        await says(ann, f"Message {number}")
    await grown_old(ann)
    await finished(Worker(worker_db, A, build=ALL.get))
    over = asyncio.Event()
    retrievers = [Retriever(embedder, ALL.get) for embedder in (A, B, C)]

    async def asks() -> int:
        count = 0
        while not over.is_set():
            retriever = retrievers[count % 3]
            vector = await retriever._embedder.embed_query("Task 77")
            found = await retriever.combined_context(db, ann.id, Question("Task 77", vector), Scope(3))
            # Of mixed models the exact words would not come first: the vectors of one are the others' upside down.
            assert found.sources[0].title == "Task 77"
            count += 1
        return count

    async def edits() -> None:
        for number in range(60):
            await ann.does(
                "update tasks set description = %(text)s where name = %(name)s",
                text=f"Edited {number}",
                name=f"Task {number + 100}",
            )
            await ann.adds_task(f"New {number}")
            if number % 6 == 0:
                await ann.does("delete from tasks where name = %(name)s", name=f"Task {number + 200}")
            await asyncio.sleep(0.01)

    asking, editing = asyncio.create_task(asks()), asyncio.create_task(edits())
    for embedder in (B, C):
        worker = Worker(worker_db, embedder, build=ALL.get)
        for _ in range(3):
            await worker.work()
    await editing
    # What gave way to an edit, or waits for what is queued, is left alone for seconds.
    await until(lambda: _is_complete(worker, ann, "model-c"), 60)
    over.set()

    assert await asking > 5
    names = {name for (name,) in await ann.rows("select name from tasks where user_id = %(me)s")}
    titles = await ann.rows("select title from user_metadata_embeddings where user_id = %(me)s")
    assert sorted(names) == sorted(title for (title,) in titles)
    assert await ann.rows("select from ai_conversation_memory where user_id = %(me)s and code is null") == []


async def _is_complete(worker: Worker, person: PipelineUser, model: str) -> bool:
    await worker.work()
    return await models(person) == {model} and await person.queued() == []


async def test_a_withdrawal_while_the_new_models_vectors_are_made_lets_none_in(
    ann: PipelineUser, worker_db: Database
) -> None:
    class Withdrawing(Named):
        async def embed_documents(self, texts: Sequence[str]) -> Vector:
            if any("withdrawn" in text for text in texts):
                await ann.does(
                    "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%(me)s, false)"
                )
            return await super().embed_documents(texts)

    await ann.adds_task("Soon withdrawn")
    await says(ann, "My knee hurts.")
    await grown_old(ann)
    await finished(Worker(worker_db, A, build=ALL.get))

    await finished(Worker(worker_db, Withdrawing("model-b", 1), build=ALL.get))

    assert await models(ann) <= {None, "model-b"}
    assert await ann.rows("select from user_metadata_embeddings where user_id = %(me)s") == []
    assert await ann.rows("select from message_embeddings where user_id = %(me)s") == []
    assert await vectors(ann) == [(None, False, False)]
