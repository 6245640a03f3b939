"""Conversations as their user reads and changes them. ``coach/chat`` writes them during a turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct
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
from coach.http.lists import newest_first, page
from coach.values.ids import is_id

_sql = load("conversations")


class _Row(Conversation, kw_only=True):
    """One row of the queries ``conversations``, ``conversations_found`` and ``one_conversation``."""

    row_id: UUID
    match_id: str | None = None
    match_text: str = ""

    def conversation(self, words: Sequence[str] | None = None) -> Conversation:
        """``words`` are what was searched for."""
        found = Conversation(*[getattr(self, name) for name in Conversation.__struct_fields__])
        if words is not None:
            found.match = None if self.match_id is None else Match(self.match_id, excerpt(self.match_text, words))
        return found


class _Message(Struct, frozen=True):
    """One row of the query ``message_of``."""

    id: UUID
    role: str
    deleted: bool


async def listed(
    db: Database, user_id: UUID, *, q: str | None, archived: bool, limit: int, cursor: str | None
) -> ConversationPage:
    """One page, newest activity first; with ``q`` those that hold its words, in the title or in one message."""
    wanted = {"user_id": user_id, "archived": archived, **newest_first(limit, cursor)}
    async with db.as_user(user_id) as tx:
        if q is None:
            rows = await _sql.conversations.rows(tx, _Row, **wanted)
        else:
            words = words_of(q)
            rows = await _sql.conversations_found.rows(
                tx, _Row, words=words.plain, prefixes=list(words.prefixes), runs=list(words.runs), **wanted
            )
    shown, next_cursor = page(rows, limit, lambda row: (row.updated_at, row.row_id))
    return ConversationPage([row.conversation(None if q is None else words_of(q).all) for row in shown], next_cursor)


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
    message = await _message_of(tx, user_id, conversation_id, key)
    if message is None:
        raise InvalidInput(path, "must be the id of a message of this conversation.")
    return message.id


async def _message_of(tx: Transaction, user_id: UUID, conversation_id: UUID, key: str) -> _Message | None:
    if not is_id(key):
        return None
    return await _sql.message_of.one(tx, _Message, user_id=user_id, conversation_id=conversation_id, client_id=key)


async def rate(
    db: Database, user_id: UUID, key: str, message_key: str, *, given: Feedback, now: datetime
) -> GivenFeedback:
    """Store a user's feedback on an answer. The latest feedback counts.

    :raises NotFound: no such conversation or message. :raises InvalidInput: it is no answer, or a text is too long.
    """
    given.check()
    stored = GivenFeedback(given.rating, given.reason or None, given.correction or None, now)
    async with db.as_user(user_id) as tx:
        id_ = await locked(tx, user_id, key)
        message = await _message_of(tx, user_id, id_, message_key)
        if message is None or message.deleted:
            raise NotFound("There is no such message in this conversation.")
        if message.role != "assistant":
            raise InvalidInput("message_id", "must be an answer of the coach; it is a message of yours.")
        await _sql.give_feedback.run(tx, user_id=user_id, id=message.id, feedback=Jsonb(msgspec.to_builtins(stored)))
    return stored


async def delete(db: Database, user_id: UUID, key: str, *, even_running: bool = False) -> tuple[UUID, ...]:
    """The conversation, its messages and their vectors, and what other answers have kept of them as sources.

    While a turn of it runs in any process, nothing is deleted and the ids of the running answers are returned.

    :raises NotFound: absent, or another user's.
    """
    async with db.as_user(user_id) as tx:
        id_ = await locked(tx, user_id, key)
        running = tuple(await _sql.running_in.values(tx, user_id=user_id, conversation_id=id_))
        if running and not even_running:
            return running
        await blank_source_in_answers(tx, user_id, {"conversation_id": key})
        await _sql.delete_conversation.run(tx, user_id=user_id, id=id_)
    return ()


async def blank_source_in_answers(tx: Transaction, user_id: UUID, source: dict[str, str]) -> None:
    """Take the text of a source out of every answer that keeps a copy of it."""
    if ids := await _sql.answers_with_source.values(tx, user_id=user_id, sources=Jsonb({"sources": [source]})):
        await _sql.blank_sources.run(tx, user_id=user_id, ids=ids, source=Jsonb(source))


async def _one(tx: Transaction, user_id: UUID, key: str) -> Conversation:
    row = await _sql.one_conversation.one(tx, _Row, user_id=user_id, client_id=key) if is_id(key) else None
    if row is None:
        raise NotFound("There is no such conversation.")
    return row.conversation()
