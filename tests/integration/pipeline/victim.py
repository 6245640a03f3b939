"""A worker process for killing.

A module of its own: the fork server imports it by name, and what it takes to embed only once for all of them.
"""

from __future__ import annotations

import asyncio

from langchain_openai import OpenAIEmbeddings  # noqa: F401 - three seconds that each new process would spend again
from pydantic import SecretStr

from coach.database.pool import Database
from coach.pipeline.worker import Worker
from coach.retrieval.openai import OpenAIEmbedder


def work(url: str, provider: str) -> None:
    asyncio.run(_work(url, provider))


async def _work(url: str, provider: str) -> None:
    db = Database(url, max_size=4)
    await db.open()
    embedder = OpenAIEmbedder("stub-embedding", SecretStr("k"), provider, timeout=1.0, attempts=1)
    await Worker(db, embedder, poll=0.2).run()
