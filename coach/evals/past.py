"""Past conversations, stored with their vectors: what the searches are tried on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from msgspec import Struct

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.retrieval.base import Domain, Embedder, Source, Vector, halfvec
from coach.retrieval.search import Scope, search_statement

_sql = load("bench")


class PastMessage(Struct, frozen=True):
    """One message as it was said. ``client_id`` is its id on the wire, unique within the conversation."""

    client_id: str
    role: Literal["user", "assistant"]
    content: str
    said_at: datetime
    author: str | None = None

    @property
    def text(self) -> str:
        """What is embedded, and what a model reads."""
        return f"{self.author}: {self.content}" if self.author else self.content


class PastConversation(Struct, frozen=True):
    """One thread, oldest message first."""

    client_id: str
    title: str
    created_at: datetime
    messages: tuple[PastMessage, ...]


async def remember(
    tx: Transaction, user_id: UUID, past: PastConversation, vectors: Vector | None = None, model: str | None = None
) -> int:
    """Store what is new of a conversation, each message after the one before it; returns how many that were.

    ``vectors`` are those of ``[message.text for message in past.messages]`` by ``model``. Without them, and without the
    user's consent to ``record_rag_snippets``, the messages are stored alone.
    """
    if vectors is not None and await _sql.consent_to_remember.value(tx, user_id=user_id) is False:
        vectors = None
    conversation_id: UUID = await _sql.remember_conversation.value(
        tx, user_id=user_id, client_id=past.client_id, title=past.title, created_at=past.created_at
    )
    known: dict[str, UUID] = dict(
        await _sql.remembered_messages.rows(tx, tuple, user_id=user_id, conversation_id=conversation_id)
    )
    rows = new_rows(past.messages, known, vectors)
    if rows:
        shared = {
            "user_id": user_id,
            "conversation_id": conversation_id,
            "model": model if vectors is not None else None,
        }
        await _sql.remember_message.run_each(tx, [{**shared, **row} for row in rows])
        await _sql.continue_conversation.run(
            tx, user_id=user_id, conversation_id=conversation_id, leaf=rows[-1]["id"], said_at=rows[-1]["said_at"]
        )
    return len(rows)


def new_rows(
    messages: Sequence[PastMessage], known: dict[str, UUID], vectors: Vector | None
) -> list[dict[str, object]]:
    """The rows of the messages that are not known yet, each under its predecessor."""
    rows: list[dict[str, object]] = []
    parent: UUID | None = None
    for position, message in enumerate(messages):
        id_ = known.get(message.client_id)
        if id_ is None:
            id_ = uuid4()
            rows.append(
                {
                    "id": id_,
                    "client_id": message.client_id,
                    "parent_id": parent,
                    "role": message.role,
                    "author": message.author,
                    "content": message.content,
                    "said_at": message.said_at,
                    "embedding": None if vectors is None else halfvec(vectors[position]),
                }
            )
        parent = id_
    return rows


async def ranked(
    db: Database,
    user_id: UUID,
    question: str,
    embedder: Embedder,
    limit: int,
    *,
    domains: Collection[Domain] | None = None,
) -> list[Source]:
    """The ranking of a user's rows for a question, best first."""
    vector = await embedder.embed_query(question)
    scope = Scope(limit, domains, is_ranking=True)
    (found,) = await db.once(user_id, search_statement(user_id, question, vector, embedder.model, scope))
    return [row.source for row in found]
