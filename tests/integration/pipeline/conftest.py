"""A worker, an embedder behind a real socket that misbehaves as told, and people whose life changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection
from pydantic import SecretStr

from coach.database.pool import Database
from coach.pipeline.worker import Worker
from coach.retrieval.base import Embedder, Vector
from coach.retrieval.openai import OpenAIEmbedder
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.testing.stub_provider import StubProvider


class PipelineUser:
    """A person, what they change, and what is remembered of it."""

    def __init__(self, id_: UUID, owner: AsyncConnection[Any], db: Database) -> None:
        self.id, self._owner, self._db = id_, owner, db

    async def does(self, sql: str, **values: object) -> None:
        """As the server acts for them: with their rights and no more."""
        async with self._db.as_user(self.id) as tx:
            await tx.execute(sql.encode(), {"me": self.id, **values})

    async def adds_task(self, name: str, **columns: object) -> UUID:
        id_ = uuid4()
        names = "".join(f", {column}" for column in columns)
        marks = "".join(f", %({column})s" for column in columns)
        await self.does(
            f"insert into tasks (user_id, id, name{names}) values (%(me)s, %(id)s, %(name)s{marks})",
            id=id_,
            name=name,
            **columns,
        )
        return id_

    async def rows(self, sql: str) -> list[Any]:
        return await (await self._owner.execute(sql.encode(), {"me": self.id})).fetchall()

    async def remembered(self, domain: str = "task") -> list[str]:
        """The texts that have a vector."""
        found = await self.rows(
            "select text_snippet, domain_tag from user_metadata_embeddings where user_id = %(me)s order by text_snippet"
        )
        return [text for text, tag in found if tag == domain]

    async def queued(self) -> list[tuple[str, int]]:
        return await self.rows(
            "select entity_table, version from embedding_queue where user_id = %(me)s order by entity_table"
        )

    async def audit(self) -> list[tuple[str, str, str]]:
        return await self.rows(
            "select webhook_type, table_name, status from webhook_logs where user_id = %(me)s order by triggered_at"
        )


@pytest.fixture
async def someone(new_user: Any, owner: Any, db: Database) -> Callable[[], Awaitable[PipelineUser]]:
    async def make() -> PipelineUser:
        return PipelineUser(await new_user(), owner, db)

    return make


@pytest.fixture
async def ann(someone: Callable[[], Awaitable[PipelineUser]]) -> PipelineUser:
    return await someone()


@pytest.fixture
async def worker_db(worker_url: str, owner: Any) -> AsyncIterator[Database]:
    await owner.execute("delete from embedding_queue")
    database = Database(worker_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def worker(worker_db: Database) -> Worker:
    """With the offline embedder; ``await worker.work()`` does what is due and returns."""
    return Worker(worker_db, WordllamaEmbedder())


@pytest.fixture
async def provider_embedder(model_stub: StubProvider) -> AsyncIterator[Embedder]:
    embedder = OpenAIEmbedder("stub-embedding", SecretStr("k"), model_stub.url, timeout=60, attempts=1)
    yield embedder
    await embedder.aclose()


class Held(WordllamaEmbedder):
    """Works until it is told to go on: what happens meanwhile happens meanwhile, on any machine."""

    def __init__(self) -> None:
        super().__init__()
        self.is_asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        self.is_asked.set()
        await self.go_on.wait()
        return await super().embed_documents(texts)


@pytest.fixture
async def stub_worker(worker_db: Database, provider_embedder: Embedder) -> Worker:
    return Worker(worker_db, provider_embedder)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for something to become true.

    :raises TimeoutError:
    """
    deadline = monotonic() + seconds
    while not await holds():
        if monotonic() > deadline:
            raise TimeoutError("it did not become true in time")
        await asyncio.sleep(0.05)
