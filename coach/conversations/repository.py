"""Conversations as their owner sees and keeps them. What a turn writes of them is in ``chat/ledger.py``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from coach.conversations.schemas import (
    Conversation,
    ConversationChange,
    ConversationPage,
    Feedback,
    GivenFeedback,
    Match,
)
from coach.conversations.words import excerpt, words_of
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import InvalidInput, NotFound
from coach.http.lists import cursor_of, position_of
from coach.values.ids import is_id

_sql = load("conversations")


async def listed(
    db: Database, user_id: UUID, *, q: str | None, archived: bool, limit: int, cursor: str | None
) -> ConversationPage:
    """One page, newest activity first; with ``q`` those that hold its words, in the title or in one message."""
    before, before_id = position_of(cursor, tuple[datetime, UUID]) if cursor else (None, None)
    page = {"user_id": user_id, "archived": archived, "before": before, "before_id": before_id, "limit": limit + 1}
    async with db.as_user(user_id) as tx:
        if q is None:
            rows = [row async for row in _sql.conversations(tx, **page)]
        else:
            words = words_of(q)
            found = _sql.conversations_found(
                tx, words=words.plain, prefixes=list(words.prefixes), runs=list(words.runs), **page
            )
            rows = [row async for row in found]
    items = [_conversation(row, None if q is None else words_of(q).all) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return ConversationPage(items, cursor_of((last[8], last[9])) if last else None)


async def one(db: Database, user_id: UUID, key: str) -> Conversation:
    """:raises NotFound: absent, or another user's."""
    async with db.as_user(user_id) as tx:
        return await _one(tx, user_id, key)


async def change(db: Database, user_id: UUID, key: str, wanted: ConversationChange) -> Conversation:
    """:raises NotFound: as above. :raises InvalidInput: the message is of another, or the title is none."""
    title = wanted.checked_title()
    async with db.as_user(user_id) as tx:
        id_ = await locked(tx, user_id, key)
        leaf = None
        if isinstance(wanted.current_message_id, str):
            leaf = await message_in(tx, user_id, id_, wanted.current_message_id, "current_message_id")
        archived = wanted.archived if isinstance(wanted.archived, bool) else None
        await _sql.change_conversation.run(
            tx, user_id=user_id, id=id_, title=title, archived=archived, current_message_id=leaf
        )
        return await _one(tx, user_id, key)


async def locked(tx: Transaction, user_id: UUID, key: str) -> UUID:
    """The row of a conversation, locked.

    :raises NotFound: absent, or another user's.
    """
    id_ = await _sql.conversation_to_change.value(tx, user_id=user_id, client_id=key) if is_id(key) else None
    if id_ is None:
        raise NotFound("There is no such conversation.")
    return UUID(str(id_))


async def message_in(tx: Transaction, user_id: UUID, conversation_id: UUID, key: str, path: str) -> UUID:
    """The row of a message that a request names.

    :raises InvalidInput: it is not of this conversation.
    """
    row = None
    if is_id(key):
        row = await _sql.message_of(tx, user_id=user_id, conversation_id=conversation_id, client_id=key)
    if row is None:
        raise InvalidInput(path, "must be the id of a message of this conversation.")
    return UUID(str(row[0]))


async def rate(
    db: Database, user_id: UUID, key: str, message_key: str, *, given: Feedback, now: datetime
) -> GivenFeedback:
    """Store what a person thinks of an answer; the latest word counts.

    :raises NotFound: no such conversation or message. :raises InvalidInput: it is no answer, or a text is too long.
    """
    given.check()
    stored = GivenFeedback(given.rating, given.reason or None, given.correction or None, now)
    async with db.as_user(user_id) as tx:
        id_ = await locked(tx, user_id, key)
        row = None
        if is_id(message_key):
            row = await _sql.message_of(tx, user_id=user_id, conversation_id=id_, client_id=message_key)
        if row is None or row[2]:
            raise NotFound("There is no such message in this conversation.")
        if row[1] != "assistant":
            raise InvalidInput("message_id", "must be an answer of the coach; it is a message of yours.")
        await _sql.give_feedback.run(tx, user_id=user_id, id=row[0], feedback=Jsonb(msgspec.to_builtins(stored)))
    return stored


async def delete(db: Database, user_id: UUID, key: str, *, even_running: bool = False) -> tuple[UUID, ...]:
    """The conversation, its messages and their vectors, and what other answers have kept of them as sources.

    Nothing goes while turns run in it, in whatever process: then it returns their answers, else nothing.

    :raises NotFound: absent, or another user's.
    """
    async with db.as_user(user_id) as tx:
        id_ = await locked(tx, user_id, key)
        running = tuple([row[0] async for row in _sql.running_in(tx, user_id=user_id, conversation_id=id_)])
        if running and not even_running:
            return running
        await blank_where_shown(tx, user_id, {"conversation_id": key})
        await _sql.delete_conversation.run(tx, user_id=user_id, id=id_)
    return ()


async def blank_where_shown(tx: Transaction, user_id: UUID, source: dict[str, str]) -> None:
    """Take the text of a source out of every answer that keeps a copy of it."""
    rows = _sql.where_shown(tx, user_id=user_id, sources=Jsonb({"sources": [source]}))
    if ids := [row[0] async for row in rows]:
        await _sql.blank_sources.run(tx, user_id=user_id, ids=ids, source=Jsonb(source))


async def _one(tx: Transaction, user_id: UUID, key: str) -> Conversation:
    row = await _sql.one_conversation(tx, user_id=user_id, client_id=key) if is_id(key) else None
    if row is None:
        raise NotFound("There is no such conversation.")
    return _conversation(row)


def _conversation(row: Sequence[Any], words: Sequence[str] | None = None) -> Conversation:
    """The columns of the queries; ``words`` are what was searched for."""
    found = Conversation(*row[:9])
    if words is not None:
        message_key, content = row[10], row[11]
        found.match = Match(message_key, excerpt(content, words)) if message_key is not None else None
    return found
