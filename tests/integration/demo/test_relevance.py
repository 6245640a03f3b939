"""A question that nothing of her life bears on gets no sources; her own questions keep theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.load import load
from coach.evals.demo import MAIN, read
from coach.retrieval.base import Context
from coach.retrieval.context import Retriever
from coach.retrieval.search import Scope
from coach.retrieval.wordllama import WordllamaEmbedder

OFF_TOPIC = [
    "Who is the president of France?",
    "What is the capital of Australia?",
    "How many planets are in the solar system?",
    "Explain how a transistor works.",
    "Write a Python function that reverses a linked list.",
    "What is the boiling point of ethanol?",
    "Who wrote War and Peace?",
    "What is the difference between TCP and UDP?",
    "Who painted the Mona Lisa?",
    "How does photosynthesis work?",
    "How tall is Mount Kilimanjaro?",
    "How do vaccines work?",
    "Why is the sky blue?",
    "What is the speed of light?",
    "How do I undo the last git commit?",
]

EMBEDDER = WordllamaEmbedder()


class Demo:
    """The demo user, and what her questions are answered from."""

    def __init__(self, db: Database, user_id: UUID) -> None:
        self._db, self._user_id, self._retriever = db, user_id, Retriever(EMBEDDER)

    async def context(self, text: str, **more: Any) -> Context:
        question = await self._retriever.question(text, may_embed=True)
        return await self._retriever.combined_context(self._db, self._user_id, question, Scope(**more))


@pytest.fixture
async def demo(owner_url: str, owner: AsyncConnection[Any], db: Database) -> AsyncIterator[Demo]:
    user_id, operator = uuid4(), Database(owner_url)
    await owner.execute("insert into auth.users (id) values (%s)", (user_id,))
    await operator.open()
    await load(operator, EMBEDDER, user_id, generate(DEMO_SEED, date(2026, 11, 23)))
    yield Demo(db, user_id)
    await operator.close()
    await owner.execute("delete from auth.users where id = %s", (user_id,))


async def test_noise_is_no_source_and_her_own_questions_keep_theirs(demo: Demo) -> None:
    for question in OFF_TOPIC:
        context = await demo.context(question)
        assert context.sources == (), question
        assert context.receipt.used == ("state",), question
    for case in read(MAIN).cases:
        context, ranking = await demo.context(case.inputs), await demo.context(case.inputs, is_ranking=True)
        assert context.sources == ranking.sources, case.inputs
        assert len(context.sources) == 8


async def test_a_search_ranks_also_what_no_turn_would_show(demo: Demo) -> None:
    assert len((await demo.context(OFF_TOPIC[0], is_ranking=True)).sources) == 8
