"""What an arriving message means: the table of the wire contract, decided against what is stored.

Stock clients resend and regenerate with the same request shape; only what the database knows tells a new question from
a repeat, an edit or a second attempt after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from coach.chat.schemas import ChatRequest
from coach.database.queries import load
from coach.database.round_trips import Statement
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
    """One wording of a stored question, and the newest answer to it."""

    id: UUID
    key: str
    parent_id: UUID | None
    role: str
    content: str
    root: UUID
    answer_id: UUID | None
    status: str | None
    trigger: str | None


class Known(Struct, frozen=True):
    """What an idempotency key has led to. Without ``conversation`` or ``answer_id`` these were deleted."""

    fingerprint: str
    conversation: str | None
    answer_id: UUID | None
    status: str | None
    question_id: UUID | None
    question_key: str | None
    parent_id: UUID | None


class Stored(Struct, frozen=True):
    """What is stored of what a request names. ``revisions``: of its message, newest first; ``held``: the last answer
    that the client holds; ``running``: a turn of the conversation."""

    known: Known | None = None
    revisions: Sequence[Revision] = ()
    held: UUID | None = None
    running: UUID | None = None

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]]) -> Stored:
        """From the rows of ``stored_statements``."""
        known, revisions, held, running = rows
        return cls(next(iter(known), None), revisions, *(found[0][0] if found else None for found in (held, running)))


def stored_statements(
    user_id: UUID, request: ChatRequest, conversation_id: UUID | None, keys_since: datetime
) -> tuple[Statement, ...]:
    """What ``Stored`` is read by, together. ``keys_since``: an older idempotency key is forgotten."""
    where = {"user_id": user_id, "conversation_id": conversation_id}
    return (
        _sql.idempotent.statement(Known, user_id=user_id, key=request.idempotency_key, since=keys_since),
        _sql.revisions_of.statement(Revision, **where, client_id=request.message_id),
        _sql.last_known_answer.statement(**where, client_ids=list(request.answer_ids)),
        _sql.running_answers.statement(**where),
    )


def interpret(request: ChatRequest, stored: Stored, leaf: UUID | None) -> Meaning:
    """Decide by the table in the wire contract, "Chat". A message without a parent that the client names follows
    ``leaf``.

    :raises Conflict: a known message id with other text that is not said to be an edit.
    """
    revisions = stored.revisions
    same = next((r for r in revisions if r.role == "user" and r.content == request.text), None)
    if same is not None:
        return _again(request, same)
    if not revisions:
        return Ask(stored.held or leaf)
    newest = revisions[0]
    if newest.role == "user" and request.trigger == "submit-message" and request.target_id == request.message_id:
        return Ask(newest.parent_id, newest.root)
    raise Conflict(f"Message {request.message_id} is stored with another text; to edit it, repeat its id in messageId.")


def _again(request: ChatRequest, question: Revision) -> Meaning:
    """A stored question came again: a repeat, another attempt, or a request for another answer."""
    is_other_wanted = request.trigger == "regenerate-message"
    joins = question.status == "streaming" and question.trigger == "regenerate-message"
    if question.answer_id is None or question.status == "failed" or (is_other_wanted and not joins):
        return Answer(question.id, question.key, question.parent_id)
    return Replay(question.answer_id)
