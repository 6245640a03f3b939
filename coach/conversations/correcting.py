"""A memory in its owner's words: stored with their vector at once where that can be had, else by the worker."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from uuid import UUID

import structlog

from coach.conversations.memory import Memory, MemoryChange, fact_of, named, read_turn, rename_after, turn_of
from coach.conversations.repository import blank_where_shown
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.errors import EmbedderUnavailable
from coach.kinds.registry import queue_names
from coach.kinds.text import searched
from coach.retrieval.base import Domain, Embedder, Vector, halfvec

_sql = load("memory")
log = structlog.get_logger(__name__)


async def correct(
    db: Database, embedder: Embedder, user_id: UUID, source: str, id_: str, *, change: MemoryChange, now: datetime
) -> Memory:
    """From now on this wording is what is retrieved.

    :raises NotFound: absent, forgotten, or another user's. :raises InvalidInput: the wording is none.
    """
    change.check()
    domain, entity = named(source, id_)
    if domain == "conversation":
        return await _correct_turn(db, embedder, user_id, entity, text=change.content, now=now)
    return await _correct_fact(db, embedder, user_id, domain, entity, text=change.content, now=now)


async def _correct_fact(
    db: Database, embedder: Embedder, user_id: UUID, domain: Domain, entity: UUID, *, text: str, now: datetime
) -> Memory:
    async with db.as_user(user_id) as tx:
        await fact_of(tx, user_id, domain, entity)
        may_embed = await _sql.consented.value(tx, user_id=user_id)
    vector = await _vector(embedder, text) if may_embed else None
    key = {"user_id": user_id, "domain_tag": domain, "entity_id": entity}
    async with db.as_user(user_id) as tx:
        remembers, serving = await _held(tx, user_id)
        chunk, title = await fact_of(tx, user_id, domain, entity)
        await blank_where_shown(tx, user_id, {"source_id": f"{domain}:{entity}"})
        await _sql.correct.run(tx, **key, content=text, now=now)
        if remembers:
            for name in queue_names(domain):
                await _sql.queue_fact.run(tx, user_id=user_id, entity_table=name, entity_id=entity, now=now)
        await _sql.drop_fact.run(tx, **key)
        if remembers and vector is not None and serving == embedder.model:
            await _sql.add_fact.run(
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


async def _correct_turn(
    db: Database, embedder: Embedder, user_id: UUID, id_: UUID, *, text: str, now: datetime
) -> Memory:
    async with db.as_user(user_id) as tx:
        said = await turn_of(tx, user_id, id_)
        may_embed = not said.is_incognito and await _sql.consented.value(tx, user_id=user_id)
    vector = await _vector(embedder, f"{said.author}: {text}" if said.author else text) if may_embed else None
    async with db.as_user(user_id) as tx:
        remembers, serving = await _held(tx, user_id)
        was = await turn_of(tx, user_id, id_)
        await rename_after(tx, user_id, id_, was.content, text)
        await blank_where_shown(tx, user_id, {"source_id": f"conversation:{id_}"})
        await _sql.correct_turn.run(tx, user_id=user_id, id=id_, content=text, now=now)
        if remembers and vector is not None and serving == embedder.model:
            await _sql.store_turn_vector.run(
                tx, user_id=user_id, id=id_, content=text, embedding=halfvec(vector), model=serving
            )
        await _sql.hasten_turn.run(tx, user_id=user_id, id=id_, now=now)
        await notify_work(tx)
        return await read_turn(tx, user_id, id_)


async def _held(tx: Transaction, user_id: UUID) -> tuple[bool, str | None]:
    """Whether anything may be remembered, and from which model; both stay so until the end of ``tx``."""
    remembers = await _sql.hold_consent.value(tx, user_id=user_id) is not False
    return remembers, await _sql.hold_models.value(tx, user_id=user_id)


async def _vector(embedder: Embedder, text: str) -> Vector | None:
    """None where the embedder is away: its words find it meanwhile, or the worker does."""
    try:
        vector: Vector = (await embedder.embed_documents([searched(text)]))[0]
    except EmbedderUnavailable as error:
        log.warning("correction_left_to_worker", error=type(error).__name__)
        return None
    return vector
