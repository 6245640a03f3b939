"""Corrects a memory. The wording is stored with its vector, or the worker makes the vector if the embedder is
unavailable."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from uuid import UUID

from coach.conversations.memory import (
    Memory,
    MemoryChange,
    lock_remembered_message,
    named,
    read_remembered_snippet,
    read_turn,
    rename_after,
)
from coach.conversations.repository import blank_source_in_answers
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.kinds.registry import queue_names
from coach.kinds.text import searched
from coach.retrieval.base import Domain, Vector, halfvec
from coach.retrieval.context import Retriever

_sql = load("memory")


async def correct(
    db: Database, retriever: Retriever, user_id: UUID, source: str, id_: str, *, change: MemoryChange, now: datetime
) -> Memory:
    """Store the wording that is retrieved from now on.

    :raises NotFound: absent, forgotten, or another user's. :raises InvalidInput: the wording is none.
    """
    change.check()
    domain, entity = named(source, id_)
    if domain == "conversation":
        return await _correct_message(db, retriever, user_id, entity, text=change.content, now=now)
    return await _correct_snippet(db, retriever, user_id, domain, entity, text=change.content, now=now)


async def _correct_snippet(
    db: Database, retriever: Retriever, user_id: UUID, domain: Domain, entity: UUID, *, text: str, now: datetime
) -> Memory:
    async with db.as_user(user_id) as tx:
        await read_remembered_snippet(tx, user_id, domain, entity)
        may_embed = await load("retrieval").has_consented.value(tx, user_id=user_id)
    vector = await _vector(retriever, text) if may_embed else None
    key = {"user_id": user_id, "domain_tag": domain, "entity_id": entity}
    async with db.as_user(user_id) as tx:
        remembers, serving = await _held(tx, user_id)
        chunk, title = await read_remembered_snippet(tx, user_id, domain, entity)
        await blank_source_in_answers(tx, user_id, {"source_id": f"{domain}:{entity}"})
        await _sql.correct.run(tx, **key, content=text, now=now)
        if remembers:
            for name in queue_names(domain):
                await _sql.queue_entity.run(tx, user_id=user_id, entity_table=name, entity_id=entity, now=now)
        await _sql.drop_snippets.run(tx, **key)
        if remembers and vector is not None and serving == retriever.model:
            await _sql.store_corrected_snippet.run(
                tx,
                **key,
                chunk=chunk,
                title=title,
                text=text,
                embedding=halfvec(vector),
                model=serving,
                content_hash=sha256(text.encode()).hexdigest(),
                now=now,
            )
        await notify_work(tx)
    return Memory(domain, entity, title, text, now, corrected=True)


async def _correct_message(
    db: Database, retriever: Retriever, user_id: UUID, id_: UUID, *, text: str, now: datetime
) -> Memory:
    async with db.as_user(user_id) as tx:
        said = await lock_remembered_message(tx, user_id, id_)
        may_embed = not said.is_incognito and await load("retrieval").has_consented.value(tx, user_id=user_id)
    vector = await _vector(retriever, f"{said.author}: {text}" if said.author else text) if may_embed else None
    async with db.as_user(user_id) as tx:
        remembers, serving = await _held(tx, user_id)
        was = await lock_remembered_message(tx, user_id, id_)
        await rename_after(tx, user_id, id_, was.content, text)
        await blank_source_in_answers(tx, user_id, {"source_id": f"conversation:{id_}"})
        await _sql.correct_message.run(tx, user_id=user_id, id=id_, content=text, now=now)
        if remembers and vector is not None and serving == retriever.model:
            await _sql.store_message_vector.run(
                tx, user_id=user_id, id=id_, content=text, embedding=halfvec(vector), model=serving
            )
        await _sql.make_messages_due.run(tx, user_id=user_id, ids=[id_], now=now)
        await notify_work(tx)
        return await read_turn(tx, user_id, id_)


async def _held(tx: Transaction, user_id: UUID) -> tuple[bool, str | None]:
    """Whether the user consents to memory, and the serving model. Both are locked until the end of ``tx``."""
    remembers = await _sql.lock_consents.value(tx, user_id=user_id) is not False
    return remembers, await _sql.lock_models_exclusively.value(tx, user_id=user_id)


async def _vector(retriever: Retriever, text: str) -> Vector | None:
    """None if the embedder is unavailable. Until the worker makes the vector, the memory is found by its words."""
    return (await retriever.question(searched(text), may_embed=True)).vector
