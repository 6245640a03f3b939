"""The two functions that anybody with a connection may call: their own rows, and nobody else's."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from psycopg.errors import InsufficientPrivilege

from coach.database.pool import Database, Transaction
from coach.retrieval.base import halfvec
from tests.integration.retrieval.conftest import EMBEDDER, RetrievalUser

KNEE = "My knee hurts"
COMBINED = "select domain, title, content from search_combined_context(%s, %s, %s, 'wordllama')"
METADATA = "select domain_tag, text_snippet, similarity from search_metadata_embeddings(%s, %s)"


async def combined(tx: Transaction, user_id: UUID) -> list[Any]:
    vector = halfvec(await EMBEDDER.embed_query(KNEE))
    return await (await tx.execute(COMBINED, (user_id, KNEE, vector))).fetchall()


async def metadata(tx: Transaction, user_id: UUID) -> list[Any]:
    vector = halfvec(await EMBEDDER.embed_query(KNEE))
    return await (await tx.execute(METADATA, (vector, user_id))).fetchall()


@pytest.fixture
async def ann(ann: RetrievalUser) -> RetrievalUser:
    await ann.said(KNEE, "Rest it")
    await ann.wrote("Knee", "Book the scan", domain="task")
    await ann.wrote("Monday", "The knee was fine", domain="journal_entry")
    return ann


@pytest.mark.parametrize("role", ["coach_session", "authenticated"])
async def test_one_finds_ones_own(ann: RetrievalUser, role: Any) -> None:
    async with ann.db.as_user(ann.id, role=role) as tx:
        assert {row[0] for row in await combined(tx, ann.id)} == {"conversation", "task", "journal_entry"}
        rows = await metadata(tx, ann.id)

    assert {row[0] for row in rows} == {"task", "journal_entry"}
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)


@pytest.mark.parametrize("role", ["coach_session", "authenticated"])
async def test_functions_called_for_another_user_return_nothing(
    ann: RetrievalUser, bob: RetrievalUser, role: Any
) -> None:
    async with ann.db.as_user(bob.id, role=role) as tx:
        assert await combined(tx, ann.id) == []
        assert await metadata(tx, ann.id) == []
        words = await tx.execute(
            "select id from coach.rows_with_words(%s, 'knee', '{conversation, task, journal_entry}', 10)", (ann.id,)
        )
        assert await words.fetchall() == []


async def test_without_a_user_they_are_out_of_reach(ann: RetrievalUser) -> None:
    for search in (combined, metadata):
        with pytest.raises(InsufficientPrivilege):
            async with ann.db.as_login_role() as tx:
                await search(tx, ann.id)


async def test_a_user_who_is_none_finds_nothing(ann: RetrievalUser) -> None:
    async with ann.db.as_user(uuid4()) as tx:
        assert await combined(tx, ann.id) == []


async def test_the_operator_may_search_for_anybody(ann: RetrievalUser, worker_url: str) -> None:
    worker = Database(worker_url)
    await worker.open()
    async with worker.as_operator() as tx:
        assert len(await combined(tx, ann.id)) == 4
        assert len(await metadata(tx, ann.id)) == 2
    await worker.close()


async def test_metadata_is_narrowed_by_domain_count_and_model(ann: RetrievalUser) -> None:
    vector = halfvec(await EMBEDDER.embed_query(KNEE))

    async def count(arguments: str) -> int:
        async with ann.db.as_user(ann.id) as tx:
            rows = await tx.execute(f"select from search_metadata_embeddings(%s, %s, {arguments})", (vector, ann.id))
            return len(await rows.fetchall())

    assert await count("'{task}'") == 1
    assert await count("null, 1") == 1
    assert await count("null, 10, 'wordllama'") == 2
    assert await count("null, 10, 'other'") == 0

    await ann.has_rows(np.eye(12, 1536, dtype=np.float32))
    assert await count("null, null") == 10
    vector = None
    assert await count("null, 10, 'wordllama'") == 0


async def test_vectors_of_the_app_itself_serve_as_questions(ann: RetrievalUser) -> None:
    """An adopted app calls it with ``vector(1536)``, by position."""
    vector = "[" + ",".join(str(number) for number in await EMBEDDER.embed_query(KNEE)) + "]"

    async with ann.db.as_user(ann.id) as tx:
        rows = await tx.execute(
            "select from search_metadata_embeddings(%s::vector(1536), %s, '{task}', 5)", (vector, ann.id)
        )
        assert len(await rows.fetchall()) == 1


async def test_withdrawn_consent_holds_here_too(ann: RetrievalUser) -> None:
    await ann.consents(record_rag_snippets=False)

    async with ann.db.as_user(ann.id) as tx:
        assert await combined(tx, ann.id) == []
        assert await metadata(tx, ann.id) == []
