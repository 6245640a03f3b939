"""What the coach remembers, as its owner reads, corrects and deletes it.

Life data: what is remembered is made from a row, and made anew when the row changes or the model does. So a correction
(or a deletion) is kept beside it, in ``memory_corrections``, and stands above each of those. Conversation: the message
itself is changed, or becomes a tombstone in its place.
"""

from __future__ import annotations

from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from coach.chat.opening import beginning_of
from coach.chat.schemas import MAX_TEXT
from coach.conversations.repository import blank_where_shown
from coach.conversations.schemas import bounded
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import InvalidInput, NotFound
from coach.http.lists import cursor_of, position_of
from coach.retrieval.base import DOMAINS, Domain

_sql = load("memory")

TABLES = {
    "pillar": ("pillars",),
    "area": ("areas",),
    "project": ("projects",),
    "task": ("tasks",),
    "journal_entry": ("journal_entries",),
    "behavior_summary": ("pillar_metrics", "area_metrics"),
}


class Memory(Struct):
    """``source`` and ``id`` are those of a citation (``<source>:<id>``). ``corrected``: the wording is its owner's.

    Of a conversation also who said it and where.
    """

    source: Domain
    id: UUID
    title: str
    content: str
    updated_at: datetime
    corrected: bool
    role: Literal["user", "assistant"] | UnsetType = UNSET
    conversation_id: str | UnsetType | None = UNSET
    message_id: str | UnsetType | None = UNSET


class MemoryPage(Struct):
    """Newest first."""

    items: list[Memory]
    next_cursor: str | None = None


class MemoryChange(Struct, forbid_unknown_fields=True):
    content: str

    def check(self) -> None:
        """:raises InvalidInput: empty, too long, or with a NUL."""
        if not bounded(self.content, "content", MAX_TEXT).strip():
            raise InvalidInput("content", f"must have 1 to {MAX_TEXT:,} characters; to delete it, use DELETE.")


async def listed(db: Database, user_id: UUID, *, source: Domain | None, limit: int, cursor: str | None) -> MemoryPage:
    """One page of both kinds. Empty without the consent ``record_rag_snippets``: then nothing is remembered."""
    before, before_id = position_of(cursor, tuple[datetime, UUID]) if cursor else (None, None)
    page = {"user_id": user_id, "before": before, "before_id": before_id, "limit": limit + 1}
    facts, turns = list[Any](), list[Any]()
    async with db.as_user(user_id, is_snapshot=True) as tx:
        if not await _sql.consented.value(tx, user_id=user_id):
            return MemoryPage([])
        if source != "conversation":
            model = await _sql.served_from.value(tx, user_id=user_id)
            facts = [row async for row in _sql.remembered_facts(tx, model=model, source=source, **page)]
        if source in (None, "conversation"):
            turns = [row async for row in _sql.remembered_turns(tx, **page)]
    rows = list(islice(merge(facts, turns, key=_place, reverse=True), limit + 1))
    items = [memory_of(row) for row in rows[:limit]]
    return MemoryPage(items, cursor_of(_place(rows[limit - 1])) if len(rows) > limit else None)


def _place(row: Any) -> tuple[datetime, UUID]:
    return row[4], row[6]


def memory_of(row: Any) -> Memory:
    found = Memory(*row[:6])
    if len(row) > 7:
        found.role, found.conversation_id, found.message_id = row[7:]
    return found


async def forget(db: Database, user_id: UUID, source: str, id_: str, now: datetime) -> None:
    """Never retrieved again: not when its row is edited, nor when the model changes.

    :raises NotFound: absent, forgotten before, or another user's.
    """
    domain, entity = named(source, id_)
    async with db.as_user(user_id) as tx:
        await _sql.hold_models.value(tx, user_id=user_id)
        if domain == "conversation":
            was, _, _ = await turn_of(tx, user_id, entity)
            await rename_after(tx, user_id, entity, was, "")
            await blank_where_shown(tx, user_id, {"source_id": f"{domain}:{entity}"})
            await _sql.forget_turn.run(tx, user_id=user_id, id=entity, now=now)
            return
        await fact_of(tx, user_id, domain, entity)
        await blank_where_shown(tx, user_id, {"source_id": f"{domain}:{entity}"})
        key = {"user_id": user_id, "domain_tag": domain, "entity_id": entity}
        await _sql.correct.run(tx, **key, content=None, now=now)
        await _sql.unqueue_fact.run(tx, user_id=user_id, tables=list(TABLES[domain]), entity_id=entity)
        await _sql.drop_fact.run(tx, **key)


def named(source: str, id_: str) -> tuple[Domain, UUID]:
    """:raises NotFound: there is no such kind, or no such id."""
    try:
        return next(domain for domain in DOMAINS if domain == source), UUID(id_)
    except (StopIteration, ValueError):
        raise NotFound("There is no such memory.") from None


async def fact_of(tx: Transaction, user_id: UUID, domain: Domain, entity: UUID) -> tuple[int, str]:
    """Its first chunk and its title.

    :raises NotFound: nothing is remembered of it.
    """
    row = await _sql.fact(tx, user_id=user_id, domain_tag=domain, entity_id=entity)
    if row is None:
        raise NotFound("There is no such memory.")
    return row[0], row[1]


async def turn_of(tx: Transaction, user_id: UUID, id_: UUID) -> tuple[str, str | None, bool]:
    """What was said, by whom, and whether it was said in confidence; locked, its conversation before it.

    :raises NotFound: absent, deleted, or still being said.
    """
    await _sql.hold_conversation_of.value(tx, user_id=user_id, id=id_)
    row = await _sql.turn_to_change(tx, user_id=user_id, id=id_)
    if row is None:
        raise NotFound("There is no such memory.")
    return row[0], row[1], row[2]


async def rename_after(tx: Transaction, user_id: UUID, id_: UUID, was: str, becomes: str) -> None:
    """A conversation whose name was made of its first message does not keep what that said."""
    await _sql.rename_after.run(tx, user_id=user_id, id=id_, title=beginning_of(becomes), old_title=beginning_of(was))
