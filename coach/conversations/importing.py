"""Imports conversations. Faulty messages are reported one by one, and a known message is stored only once."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from msgspec import Struct
from psycopg.types.json import Jsonb

from coach.chat.opening import beginning_of
from coach.conversations.import_format import ImportedConversation, ImportedMessage
from coach.conversations.import_reader import ImportReader
from coach.conversations.spool import Spool
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work

_sql = load("importing")

AT_ONCE = 1024 * 1024
"""Bytes of text that are in memory while they are stored."""


class Rejected(Struct):
    """What was not taken, by its path in the body."""

    path: str
    message: str


class Imported(Struct):
    """``messages`` are new, ``known`` were there already; vectors are made in the background."""

    conversations: int
    messages: int
    known: int
    rejected: list[Rejected]


async def import_conversations(db: Database, user_id: UUID, body: AsyncIterable[bytes], now: datetime) -> Imported:
    """Store what is new in ``body``: all of it in one transaction, so that a call that was cut off left nothing.

    :raises InvalidInput: too many messages, another shape altogether, or nothing that could be taken.
    """
    with closing(Spool()) as spool:
        reader = ImportReader(spool, now)
        async for data in body:
            reader.feed(data)
        arriving, errors = reader.finish()
        imported = Imported(len(arriving), 0, 0, [Rejected(*each) for each in errors])
        # Store in one order, so that two calls with the same conversations wait for each other and cause no deadlock.
        async with db.as_user(user_id) as tx:
            for each in sorted(arriving, key=lambda one: one.key):
                new = await _store(tx, user_id, each, spool, now)
                imported.messages += new
                imported.known += len(each.messages) - new
            if imported.messages:
                await notify_work(tx)
    return imported


async def _store(tx: Transaction, user_id: UUID, past: ImportedConversation, spool: Spool, now: datetime) -> int:
    """How many messages were new. The conversation's row is locked meanwhile."""
    conversation_id: UUID = await _sql.open_import.value(
        tx,
        user_id=user_id,
        client_id=past.key,
        title=past.title or beginning_of(next((spool.read(m.text) for m in past.messages if m.role == "user"), "")),
        origin="given" if past.title else "question",
        created_at=past.created_at,
        updated_at=max((m.said_at for m in past.messages), default=past.created_at),
    )
    known = set(await _sql.known_keys.values(tx, user_id=user_id, conversation_id=conversation_id))
    new = [m for m in past.messages if m.key not in known]
    ids = list[UUID]()
    for some in _by_size(new):
        rows = [_row(user_id, conversation_id, message, spool.read(message.text)) for message in some]
        await _sql.add_imported.run_each(tx, rows)
        ids += [row["id"] for row in rows]
    if ids:
        await _sql.set_named_parents.run(tx, user_id=user_id, conversation_id=conversation_id)
        await _sql.set_parents_in_order.run(tx, user_id=user_id, conversation_id=conversation_id)
        await load("memory").make_messages_due.run(tx, user_id=user_id, ids=ids, now=now)
    await _sql.set_current_message.run(tx, user_id=user_id, conversation_id=conversation_id, leaf=past.leaf)
    return len(ids)


def _by_size(messages: Sequence[ImportedMessage]) -> Iterator[list[ImportedMessage]]:
    """As many at a time as have ``AT_ONCE`` bytes of text."""
    some, size = list[ImportedMessage](), 0
    for message in messages:
        some.append(message)
        size += message.text.size
        if size >= AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _row(user_id: UUID, conversation_id: UUID, message: ImportedMessage, content: str) -> dict[str, Any]:
    """``parent`` in the context is the id it names: its row may come in a later call."""
    named = {"parent": message.parent} if message.is_placed else {}
    return {
        "user_id": user_id,
        "id": uuid4(),
        "conversation_id": conversation_id,
        "client_id": message.key,
        "role": message.role,
        "author": message.author,
        "content": content,
        "said_at": message.said_at,
        "context": Jsonb({"imported": True} | named),
    }
