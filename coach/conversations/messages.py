"""Messages of a conversation as UIMessages, branch by branch."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from coach.chat.encoders import usage
from coach.chat.parts import restore
from coach.chat.replay import problem_of
from coach.conversations.repository import message_in
from coach.conversations.schemas import MessagePage, UIMessage
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.errors import InvalidInput, NotFound
from coach.http.lists import cursor_of, position_of
from coach.models.base import Usage
from coach.values.ids import is_id

_sql = load("conversations")


class _Row(Struct, frozen=True):
    """One row of the query ``branch``."""

    row_id: UUID
    id: str
    parent_row: UUID | None
    parent_id: str | None
    role: Any
    author: str | None
    text: str
    status: str
    finish_reason: str | None
    deleted: bool
    feedback: dict[str, Any] | None
    context: Any
    said_at: datetime
    siblings: list[str]
    interaction_id: UUID | None
    model: str | None
    prompt: str | None
    input_tokens: int | None
    output_tokens: int | None
    first_token_ms: int | None
    processing_ms: int | None


class _Conversation(Struct, frozen=True):
    """One row of the query ``conversation``."""

    id: UUID
    current_message_id: UUID | None
    incognito: bool


async def messages(
    db: Database, user_id: UUID, key: str, *, leaf: str | None, limit: int, cursor: str | None
) -> MessagePage:
    """The last ``limit`` messages of a branch, oldest first; the cursor leads to those before them.

    The branch is the one that ends at the conversation's current message; with ``leaf`` the one through that message,
    down along the newest of what follows it. Going up by parents, a page stays what it is while others arrive.

    :raises NotFound: absent, or another user's. :raises InvalidInput: cursor or leaf are not of this conversation.
    """
    position = position_of(cursor, UUID) if cursor else None
    async with db.as_user(user_id, is_snapshot=True) as tx:
        conversation_id, start = await _start(tx, user_id, key, leaf)
        start = position or start
        if start is None:
            return MessagePage([])
        rows = await _sql.branch.rows(
            tx, _Row, user_id=user_id, conversation_id=conversation_id, from_id=start, limit=limit
        )
    if not rows and position is not None:
        raise InvalidInput("cursor", "must be the next_cursor of a page of this list.")
    before = rows[-1].parent_row if rows else None
    return MessagePage([_message(row, key) for row in reversed(rows)], cursor_of(before) if before else None)


async def _start(tx: Transaction, user_id: UUID, key: str, leaf: str | None) -> tuple[UUID, UUID | None]:
    conversation = await _conversation(tx, user_id, key)
    if leaf is None:
        return conversation.id, conversation.current_message_id
    message = await message_in(tx, user_id, conversation.id, leaf, "leaf")
    return conversation.id, UUID(str(await _sql.newest_leaf_below.value(tx, user_id=user_id, id=message)))


async def _conversation(tx: Transaction, user_id: UUID, key: str) -> _Conversation:
    row = await load("chat").conversation.one(tx, _Conversation, user_id=user_id, client_id=key) if is_id(key) else None
    if row is None:
        raise NotFound("There is no such conversation.")
    return row


def _message(row: _Row, conversation: str) -> UIMessage:
    text = {"type": "text", "text": row.text, "state": "streaming" if row.status == "streaming" else "done"}
    told = restore(row.context) if row.role == "assistant" else []
    parts = [*(part.shown() for part in told), text]
    return UIMessage(row.id, row.role, row.parent_id, row.siblings, parts, _metadata(row, conversation))


def _metadata(row: _Row, conversation: str) -> dict[str, Any]:
    """The metadata of the stream, and how and when the message ended."""
    told: dict[str, Any] = {"conversation_id": conversation, "created_at": row.said_at, "status": row.status}
    if row.deleted:
        told["deleted"] = True
    if row.author is not None:
        told["name"] = row.author
    if row.role != "assistant":
        return told
    if row.parent_id is not None:
        told["user_message_id"] = row.parent_id
    if row.interaction_id is not None:
        told |= {"interaction_id": str(row.interaction_id), "model": row.model, "prompt": row.prompt}
    if row.processing_ms is not None:
        told |= {"first_token_ms": row.first_token_ms, "processing_time_ms": row.processing_ms}
    if row.input_tokens is not None:
        told["usage"] = usage(Usage(row.input_tokens, row.output_tokens or 0))
    if row.finish_reason is not None:
        told["finish_reason"] = row.finish_reason
    if row.feedback is not None:
        told["feedback"] = row.feedback
    if row.status == "failed":
        slug, detail = problem_of(row.context)
        told["problem"] = {"type": f"/problems/{slug}", "detail": detail}
    return told
