"""People with a past, and ways to ask about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.evals.past import PastConversation, PastMessage, remember
from coach.retrieval.base import DIMENSIONS, Context, Source, Vector, halfvec
from coach.retrieval.context import Question, Retriever
from coach.retrieval.search import Scope, search_statement
from coach.retrieval.wordllama import WordllamaEmbedder

NOW = datetime(2026, 11, 23, 20, 30, tzinfo=UTC)
EMBEDDER = WordllamaEmbedder()


class RetrievalUser:
    """One user: what they said and wrote, and what a search brings back."""

    def __init__(self, db: Database, owner: AsyncConnection[Any], user_id: UUID) -> None:
        self.db, self.owner, self.id = db, owner, user_id

    async def said(
        self, *texts: str, conversation: str = "c1", author: str | None = None, when: datetime = NOW
    ) -> None:
        """A conversation, user and assistant in turn, stored with its vectors."""
        messages = tuple(
            PastMessage(
                f"m{number}", "assistant" if number % 2 else "user", text, when + timedelta(minutes=number), author
            )
            for number, text in enumerate(texts)
        )
        past = PastConversation(conversation, f"About {conversation}", when, messages)
        vectors = await EMBEDDER.embed_documents([message.text for message in messages])
        async with self.db.as_user(self.id) as tx:
            await remember(tx, self.id, past, vectors, EMBEDDER.model)

    async def wrote(self, title: str, text: str, domain: str = "task", **more: Any) -> UUID:
        """A row of life data as it is embedded; returns the entity."""
        row = {"entity": uuid4(), "model": EMBEDDER.model, "chunk": 0, "vector": None} | more
        vector = row["vector"] if row["vector"] is not None else await EMBEDDER.embed_query(f"{title}\n{text}")
        async with self.db.as_user(self.id) as tx:
            await tx.execute(
                "insert into user_metadata_embeddings"
                " (user_id, domain_tag, entity_id, chunk, title, text_snippet, embedding, embedding_model)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (self.id, domain, row["entity"], row["chunk"], title, text, halfvec(vector), row["model"]),
            )
        return row["entity"]

    async def has_rows(self, vectors: Vector, texts: Sequence[str] | None = None) -> None:
        """Many rows of life data at once, titled by their position."""
        async with self.db.as_user(self.id) as tx, tx.cursor() as cursor:
            await cursor.executemany(
                "insert into user_metadata_embeddings"
                " (user_id, domain_tag, entity_id, title, text_snippet, embedding, embedding_model)"
                " values (%s, 'task', gen_random_uuid(), %s, %s, %s, 'wordllama')",
                [
                    (self.id, str(position), texts[position] if texts else "", halfvec(vector))
                    for position, vector in enumerate(vectors)
                ],
            )

    async def has_lived_long(self) -> None:
        """So many rows that not all are compared. They are of another model and without words: none is ever found."""
        async with self.db.as_user(self.id) as tx:
            await tx.execute(
                "insert into user_metadata_embeddings"
                " (user_id, domain_tag, entity_id, title, text_snippet, embedding, embedding_model)"
                " select %s, 'task', gen_random_uuid(), '', '', %s, 'of long ago' from generate_series(1, 2000)",
                (self.id, halfvec(await EMBEDDER.embed_query("then"))),
            )

    async def finds(
        self, question: str, *, vector: Vector | None = None, words_only: bool = False, **more: Any
    ) -> list[Source]:
        if vector is None and not words_only:
            vector = await EMBEDDER.embed_query(question)
        scope = Scope(**{"limit": 10, "is_ranking": True} | more)
        (found,) = await self.db.once(self.id, search_statement(self.id, question, vector, EMBEDDER.model, scope))
        return [row.source for row in found]

    async def context(self, question: str = "How am I doing?", *, embedded: bool = True, **more: Any) -> Context:
        vector = await EMBEDDER.embed_query(question) if embedded else None
        now = more.pop("now", NOW)
        return await Retriever(EMBEDDER).combined_context(
            self.db, self.id, Question(question, vector), Scope(**more), now
        )

    async def consents(self, **consents: bool) -> None:
        for name, given in consents.items():
            await self.owner.execute(
                f"insert into user_analytics_preferences (user_id, {name}) values (%s, %s)"
                f" on conflict (user_id) do update set {name} = excluded.{name}",
                (self.id, given),
            )

    async def run(self, sql: str, *params: Any) -> list[Any]:
        """Behind the scenes, as the owner of the database; ``$user`` stands for this person."""
        cursor = await self.owner.execute(sql.replace("$user", f"'{self.id}'"), params)
        return await cursor.fetchall() if cursor.description else []


NewRetrievalUser = Callable[[], Awaitable[RetrievalUser]]


@pytest.fixture
def new_retrieval_user(
    db: Database, owner: AsyncConnection[Any], new_user: Callable[[], Awaitable[UUID]]
) -> NewRetrievalUser:
    async def make() -> RetrievalUser:
        return RetrievalUser(db, owner, await new_user())

    return make


@pytest.fixture
async def ann(new_retrieval_user: NewRetrievalUser) -> RetrievalUser:
    return await new_retrieval_user()


@pytest.fixture
async def bob(new_retrieval_user: NewRetrievalUser) -> RetrievalUser:
    return await new_retrieval_user()


def clustered(count: int, clusters: int = 20, seed: int = 3) -> Vector:
    """Unit vectors that lie in clusters, as those of texts do."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, DIMENSIONS)).astype(np.float32)
    rows = centres[rng.integers(0, clusters, count)] + rng.standard_normal((count, DIMENSIONS)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def texts_of(sources: Sequence[Source]) -> list[str]:
    return [source.text for source in sources]


@pytest.fixture(params=["few", "many"])
async def anyone(new_retrieval_user: NewRetrievalUser, request: pytest.FixtureRequest) -> RetrievalUser:
    """Somebody all of whose rows are compared, and somebody of whose rows some are chosen."""
    person = await new_retrieval_user()
    if request.param == "many":
        await person.has_lived_long()
    return person
