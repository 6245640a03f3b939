"""What the callers of ``/v1`` refer to, in the database: a day, a conversation, an earlier response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import NotFound
from coach.openai_api.response_objects import Facts, message_id

_sql = load("openai")


class StoredResponse(Struct, frozen=True):
    """A response that was given: its answer, where it stands, what its caller had said."""

    answer_id: UUID
    message_id: str
    conversation_id: str
    facts: Facts


class _Answer(Struct, frozen=True):
    """One row of the query ``answers``."""

    client_id: str
    content: str


class _Row(Struct, frozen=True):
    """One row of the query ``response``."""

    answer_id: UUID
    conversation_id: str
    facts: dict[str, Any]


async def timezone_of(db: Database, user_id: UUID) -> ZoneInfo:
    async with db.as_user(user_id) as tx:
        return ZoneInfo(await _sql.timezone_of.value(tx, user_id=user_id) or "UTC")


async def find_answer_by_text(db: Database, user_id: UUID, conversation_id: str, text: str) -> str | None:
    """The message id of a conversation's newest answer with this text."""
    async with db.as_user(user_id) as tx:
        found: str | None = await _sql.find_answer_by_text.value(
            tx, user_id=user_id, client_id=conversation_id, content=text
        )
    return found


async def answers_by_id(db: Database, user_id: UUID, message_ids: Sequence[str]) -> dict[str, str]:
    """The texts of those of these answers that the user has."""
    wanted = [message_id for message_id in message_ids if "\0" not in message_id]
    if not wanted:
        return {}
    async with db.as_user(user_id) as tx:
        return {row.client_id: row.content for row in await _sql.answers.rows(tx, _Answer, user_id=user_id, ids=wanted)}


async def require_conversation(db: Database, user_id: UUID, conversation_id: str) -> None:
    """:raises NotFound: absent, or another user's."""
    async with db.as_user(user_id) as tx:
        if not await load("chat").conversation.one(tx, tuple, user_id=user_id, client_id=conversation_id):
            raise NotFound(f"There is no conversation {conversation_id!r}.")


async def stored_response(db: Database, user_id: UUID, response_id: str) -> StoredResponse:
    """:raises NotFound: absent, not stored, or another user's."""
    answer = message_id(response_id)
    row = None
    if answer is not None and "\0" not in answer:
        async with db.as_user(user_id) as tx:
            row = await _sql.response.one(tx, _Row, user_id=user_id, client_id=answer)
    if answer is None or row is None:
        raise NotFound("There is no such response.")
    return StoredResponse(row.answer_id, answer, row.conversation_id, msgspec.convert(row.facts, Facts))
