"""What the coach remembers, as its user reads, corrects and deletes it.

Life data: a snippet is made from a row, and made again when the row or the model changes. So a correction or deletion
is stored in ``memory_corrections`` and overrides each new snippet. Conversation: the message itself is changed, or
becomes a tombstone in its place.
"""

from __future__ import annotations

from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from coach.chat.opening import beginning_of
from coach.chat.schemas import MAX_TEXT
from coach.conversations.repository import blank_source_in_answers
from coach.conversations.schemas import bounded
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import InvalidInput, NotFound
from coach.http.lists import newest_first, page
from coach.kinds.registry import kind_names, queue_names
from coach.retrieval.base import Domain
from coach.values.text import up_to

_sql = load("memory")


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


class _Row(Memory, kw_only=True):
    """One row of ``list_remembered_snippets``, ``list_remembered_messages`` or ``read_remembered_message``."""

    row_id: UUID

    def place(self) -> tuple[datetime, UUID]:
        return self.updated_at, self.row_id

    def memory(self) -> Memory:
        return Memory(*[getattr(self, name) for name in Memory.__struct_fields__])


class Said(Struct, frozen=True):
    """One row of the query ``lock_message``."""

    content: str
    author: str | None
    is_incognito: bool


class MemoryPage(Struct):
    """Newest first."""

    items: list[Memory]
    next_cursor: str | None = None


class MemoryChange(Struct, forbid_unknown_fields=True):
    content: Annotated[str, up_to(MAX_TEXT)]

    def check(self) -> None:
        """:raises InvalidInput: empty, too long, or with a NUL."""
        if not bounded(self.content, "content", MAX_TEXT).strip():
            raise InvalidInput("content", f"must have 1 to {MAX_TEXT:,} characters; to delete it, use DELETE.")


async def listed(db: Database, user_id: UUID, *, source: Domain | None, limit: int, cursor: str | None) -> MemoryPage:
    """One page of both kinds. Empty without the consent ``record_rag_snippets``: then nothing is remembered."""
    wanted = {"user_id": user_id, **newest_first(limit, cursor)}
    facts, turns = list[_Row](), list[_Row]()
    async with db.as_user(user_id, is_snapshot=True) as tx:
        if not await load("retrieval").has_consented.value(tx, user_id=user_id):
            return MemoryPage([])
        if source != "conversation":
            model = await _sql.served_from.value(tx, user_id=user_id)
            facts = await _sql.list_remembered_snippets.rows(tx, _Row, model=model, source=source, **wanted)
        if source in (None, "conversation"):
            turns = await _sql.list_remembered_messages.rows(tx, _Row, **wanted)
    rows = list(islice(merge(facts, turns, key=_Row.place, reverse=True), limit + 1))
    shown, next_cursor = page(rows, limit, _Row.place)
    return MemoryPage([row.memory() for row in shown], next_cursor)


async def read_turn(tx: Transaction, user_id: UUID, id_: UUID) -> Memory:
    """:raises NotFound: absent, or another user's."""
    row = await _sql.read_remembered_message.one(tx, _Row, user_id=user_id, id=id_)
    if row is None:
        raise NotFound("There is no such memory.")
    return row.memory()


async def forget(db: Database, user_id: UUID, source: str, id_: str, now: datetime) -> None:
    """Delete a memory for good. An edit of its row or a change of model does not bring it back.

    :raises NotFound: absent, forgotten before, or another user's.
    """
    domain, entity = named(source, id_)
    async with db.as_user(user_id) as tx:
        await _sql.lock_models_exclusively.value(tx, user_id=user_id)
        if domain == "conversation":
            was = await lock_remembered_message(tx, user_id, entity)
            await rename_after(tx, user_id, entity, was.content, "")
            await blank_source_in_answers(tx, user_id, {"source_id": f"{domain}:{entity}"})
            await _sql.make_tombstone.run(tx, user_id=user_id, id=entity, now=now)
            return
        await read_remembered_snippet(tx, user_id, domain, entity)
        await blank_source_in_answers(tx, user_id, {"source_id": f"{domain}:{entity}"})
        key = {"user_id": user_id, "domain_tag": domain, "entity_id": entity}
        await _sql.correct.run(tx, **key, content=None, now=now)
        await _sql.unqueue_entity.run(tx, user_id=user_id, tables=queue_names(domain), entity_id=entity)
        await _sql.drop_snippets.run(tx, **key)


def named(source: str, id_: str) -> tuple[Domain, UUID]:
    """:raises NotFound: there is no such kind, or no such id."""
    try:
        entity = UUID(id_)
    except ValueError:
        entity = None
    if entity is None or source not in kind_names():
        raise NotFound("There is no such memory.")
    return source, entity


async def read_remembered_snippet(tx: Transaction, user_id: UUID, domain: Domain, entity: UUID) -> tuple[int, str]:
    """Its first chunk and its title.

    :raises NotFound: nothing is remembered of it.
    """
    row: tuple[int, str] | None = await _sql.fact.one(tx, tuple, user_id=user_id, domain_tag=domain, entity_id=entity)
    if row is None:
        raise NotFound("There is no such memory.")
    return row


async def lock_remembered_message(tx: Transaction, user_id: UUID, id_: UUID) -> Said:
    """The message, its role, and whether its conversation is incognito. Locked, the conversation first.

    :raises NotFound: absent, deleted, or still being said.
    """
    await _sql.lock_conversation_of_message.value(tx, user_id=user_id, id=id_)
    row = await _sql.lock_message.one(tx, Said, user_id=user_id, id=id_)
    if row is None:
        raise NotFound("There is no such memory.")
    return row


async def rename_after(tx: Transaction, user_id: UUID, id_: UUID, was: str, becomes: str) -> None:
    """A title that was made from the first message changes with it."""
    await _sql.rename_after.run(tx, user_id=user_id, id=id_, title=beginning_of(becomes), old_title=beginning_of(was))
