"""What a person asked before, and what the stand-in said, is not what a question is answered from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from coach.database.pool import Database
from coach.evals.past import PastConversation, PastMessage, remember
from coach.retrieval.context import Question, Retriever
from coach.retrieval.search import Scope
from coach.retrieval.wordllama import WordllamaEmbedder

QUESTION = "What should I do about my knee?"
THEN = datetime(2026, 3, 1, tzinfo=UTC)


async def sources_of(db: Database, user: UUID, embedder: WordllamaEmbedder) -> list[str]:
    vector = await embedder.embed_query(QUESTION)
    context = await Retriever(embedder).combined_context(db, user, Question(QUESTION, vector), Scope(3))
    return [source.text for source in context.sources]


async def talk(db: Database, user: UUID, embedder: WordllamaEmbedder, number: int, *texts: str) -> None:
    messages = tuple(
        PastMessage(f"m{number}-{n}", "assistant" if n % 2 else "user", text, THEN) for n, text in enumerate(texts)
    )
    vectors = await embedder.embed_documents([message.text for message in messages])
    async with db.as_user(user) as tx:
        await remember(tx, user, PastConversation(f"c{number}", "Knee", THEN, messages), vectors, embedder.model)


async def test_the_same_question_is_not_its_own_source(db: Database, new_user: Any) -> None:
    user, embedder = await new_user(), WordllamaEmbedder()
    for number in range(4):
        await talk(db, user, embedder, number, QUESTION, f"Ice the knee {number} times a day.")
    found = await sources_of(db, user, embedder)
    assert QUESTION not in found
    assert len(found) == 3


async def test_the_stand_ins_answers_are_not_read_back(db: Database, owner: Any, new_user: Any) -> None:
    user, embedder = await new_user(), WordllamaEmbedder()
    await talk(db, user, embedder, 1, "My knee hurts.", "About your knee: your rows say nothing.")
    await owner.execute(
        "update ai_conversation_memory set model_used = 'offline' where user_id = %s and message_role = 'assistant'",
        (user,),
    )
    assert await sources_of(db, user, embedder) == ["My knee hurts."]
