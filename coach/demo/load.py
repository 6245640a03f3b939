"""Writing a life into the database: all of it or nothing, once, as the user and under their consents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec
import numpy as np
from msgspec import Struct, structs

from coach.database.pool import Database, Transaction
from coach.database.queries import load as load_queries
from coach.demo.life import Conversation, Life, Message
from coach.demo.remembered import Remembered, remembered
from coach.errors import Conflict, NotFound
from coach.kinds.text import searched
from coach.retrieval.base import Embedder, Vector, halfvec

BATCH = 256

_sql = load_queries("demo")


class Consents(NamedTuple):
    """As far as they decide what of a life is written."""

    metrics: bool
    flow: bool
    memory: bool
    task_context: bool
    journal_memory: bool


class Memory(Struct, frozen=True):
    """What of a life is embedded, each list with its vectors; ``model`` is theirs."""

    model: str
    snippets: Sequence[Remembered]
    snippet_vectors: Vector
    messages: Sequence[tuple[Conversation, Message]]
    message_vectors: Vector | None


async def is_loaded(db: Database, user_id: UUID) -> bool:
    """Whether the user has any life data, the demo's or their own."""
    async with db.as_user(user_id) as tx:
        return bool(await _sql.has_life.value(tx, user_id=user_id))


async def load(db: Database, embedder: Embedder, user_id: UUID, life: Life) -> bool:
    """Write ``life`` as this user's; false, and nothing written, where they have life data already.

    The account must exist. What a consent of theirs keeps out is left out.

    :raises Conflict: a consent changed meanwhile. :raises EmbedderUnavailable: nothing is written.
    """
    if await is_loaded(db, user_id):
        return False
    async with db.as_user(user_id) as tx:
        consents = await _read_consents(tx, user_id)
    memory = await embedded(life, consents, embedder)
    async with db.as_user(user_id) as tx:
        await _sql.await_turn.run(tx, user_id=user_id)
        if await _sql.has_life.value(tx, user_id=user_id):
            return False
        if await _read_consents(tx, user_id) != consents:
            raise Conflict("A consent changed while the life was being loaded; nothing was written.")
        await _write(tx, user_id, life, consents, memory)
    return True


async def embedded(life: Life, consents: Consents, embedder: Embedder) -> Memory:
    """The snippets and messages of a life with their vectors. No connection is held meanwhile."""
    messages = [(talk, message) for talk in life.conversations for message in talk.messages]
    if not consents.memory:
        return Memory(embedder.model, (), np.empty((0, 0), np.float32), messages, None)
    snippets = remembered(life, task_context=consents.task_context, journal=consents.journal_memory)
    texts = [searched(each.snippet.text) for each in snippets] + [message.content for _, message in messages]
    vectors = np.concatenate(
        [await embedder.embed_documents(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    )
    return Memory(embedder.model, snippets, vectors[: len(snippets)], messages, vectors[len(snippets) :])


async def _read_consents(tx: Transaction, user_id: UUID) -> Consents:
    await _sql.default_preferences.run(tx, user_id=user_id)
    consents = await _sql.consents.one(tx, Consents, user_id=user_id)
    if consents is None:
        raise NotFound("There is no such user.")
    return consents


async def _write(tx: Transaction, user_id: UUID, life: Life, consents: Consents, memory: Memory) -> None:
    await _sql.settle_in.run(
        tx,
        user_id=user_id,
        first_name=life.person.first_name,
        last_name=life.person.last_name,
        goal=life.person.monthly_alignment_goal,
        timezone=life.person.timezone,
        streak=life.daily_streak,
    )
    if not consents.metrics:
        life = unmeasured(life)
    await _sql.write_pillars.run(tx, user_id=user_id, rows=_rows(life.pillars))
    await _sql.write_areas.run(tx, user_id=user_id, rows=_rows(life.areas))
    await _sql.write_projects.run(tx, user_id=user_id, rows=_rows(life.projects))
    await _sql.write_tasks.run(tx, user_id=user_id, rows=_rows(life.tasks))
    await _sql.write_journal_entries.run(tx, user_id=user_id, rows=_rows(life.journal_entries))
    if consents.flow:
        await _sql.write_flow_events.run(tx, user_id=user_id, rows=_rows(life.flow_events))
    await _sql.write_conversations.run(tx, user_id=user_id, rows=_rows(life.conversations))
    await _sql.write_message.run_each(tx, _message_rows(user_id, memory))
    await _sql.write_snippet.run_each(tx, _snippet_rows(user_id, memory))
    await _sql.leave_embedded.run(tx, user_id=user_id)


def unmeasured(life: Life) -> Life:
    return structs.replace(
        life,
        pillars=tuple(structs.replace(pillar, behavior_metrics=()) for pillar in life.pillars),
        areas=tuple(structs.replace(area, behavior_metrics=()) for area in life.areas),
    )


def _rows(rows: Sequence[Struct]) -> str:
    return msgspec.json.encode(rows).decode()


def _message_rows(user_id: UUID, memory: Memory) -> list[dict[str, Any]]:
    vectors = memory.message_vectors
    return [
        {
            "user_id": user_id,
            "id": message.id,
            "conversation_id": talk.id,
            "client_id": message.client_id,
            "parent_id": message.parent_id,
            "role": message.role,
            "content": message.content,
            "said_at": message.said_at,
            "embedding": None if vectors is None else halfvec(vectors[row]),
            "model": None if vectors is None else memory.model,
        }
        for row, (talk, message) in enumerate(memory.messages)
    ]


def _snippet_rows(user_id: UUID, memory: Memory) -> list[dict[str, Any]]:
    return [
        {
            "user_id": user_id,
            "id": uuid5(told.snippet.entity_id, f"{memory.model}:{told.snippet.chunk}"),
            "domain_tag": told.snippet.kind,
            "entity_id": told.snippet.entity_id,
            "chunk": told.snippet.chunk,
            "title": told.snippet.title,
            "text": told.snippet.text,
            "embedding": halfvec(vector),
            "model": memory.model,
            "content_hash": told.snippet.content_hash,
            "updated_at": told.updated_at,
        }
        for told, vector in zip(memory.snippets, memory.snippet_vectors, strict=True)
    ]
