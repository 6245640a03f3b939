"""What an arriving message means: the table of the wire contract, decided against what is stored.

Stock clients resend and regenerate with the same request shape; only what the database knows tells a new question from
a repeat, an edit or a second attempt after a failure.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from coach.chat.schemas import ChatRequest
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.errors import Conflict

_sql = load("chat")


class Ask(Struct, frozen=True):
    """A new question, or an edit (then ``revision_of`` names the first revision)."""

    parent_id: UUID | None
    revision_of: UUID | None = None


class Answer(Struct, frozen=True):
    """A stored question needs an answer, or another one."""

    question_id: UUID
    question_key: str
    parent_id: UUID | None


class Replay(Struct, frozen=True):
    """An answer exists or is being made: show that one."""

    answer_id: UUID


class Busy(Struct, frozen=True):
    """Another turn of the conversation runs and must be interrupted first."""

    answer_id: UUID


Meaning = Ask | Answer | Replay


class Revision(Struct, frozen=True):
    """One wording of a stored message."""

    id: UUID
    key: str
    parent_id: UUID | None
    role: str
    content: str
    root: UUID


class _Latest(Struct, frozen=True):
    """The newest answer to a question."""

    id: UUID
    status: str
    trigger: str | None


async def interpret(
    tx: Transaction, user_id: UUID, request: ChatRequest, conversation_id: UUID, leaf: UUID | None
) -> Meaning:
    """Decide by the table in the wire contract, "Chat".

    :raises Conflict: a known message id with other text that is not said to be an edit.
    """
    revisions = await _revisions(tx, user_id, conversation_id, request.message_id)
    same = next((r for r in revisions if r.role == "user" and r.content == request.text), None)
    if same is None and not revisions:
        return Ask(await _parent(tx, user_id, request, conversation_id, leaf))
    if same is not None:
        return await _again(tx, user_id, request, same)
    newest = revisions[0]
    if newest.role == "user" and request.trigger == "submit-message" and request.target_id == request.message_id:
        return Ask(newest.parent_id, newest.root)
    raise Conflict(f"Message {request.message_id} is stored with another text; to edit it, repeat its id in messageId.")


async def _again(tx: Transaction, user_id: UUID, request: ChatRequest, question: Revision) -> Meaning:
    """A stored question came again: a repeat, another attempt, or a request for another answer."""
    wanted = Answer(question.id, question.key, question.parent_id)
    latest = await _sql.latest_answer.one(tx, _Latest, user_id=user_id, question_id=question.id)
    if latest is None:
        return wanted
    if request.trigger == "regenerate-message":
        joins = latest.status == "streaming" and latest.trigger == "regenerate-message"
        return Replay(latest.id) if joins else wanted
    return wanted if latest.status == "failed" else Replay(latest.id)


async def _revisions(tx: Transaction, user_id: UUID, conversation_id: UUID, client_id: str | None) -> list[Revision]:
    if client_id is None:
        return []
    rows = await _sql.revisions_of.rows(
        tx, Revision, user_id=user_id, conversation_id=conversation_id, client_id=client_id
    )
    return rows


async def _parent(
    tx: Transaction, user_id: UUID, request: ChatRequest, conversation_id: UUID, leaf: UUID | None
) -> UUID | None:
    """The last answer that the client holds and we know, else the conversation's current leaf."""
    held = [key for role, key in request.known_ids if role == "assistant"]
    if held:
        return (
            await _sql.last_known_answer.value(tx, user_id=user_id, conversation_id=conversation_id, client_ids=held)
            or leaf
        )
    return leaf
