"""Which request is a repeat of an earlier one, by its ``Idempotency-Key``."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from coach.chat.meaning import Answer, Meaning, Replay
from coach.chat.schemas import ChatRequest
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.errors import Conflict

_sql = load("chat")

KEY_LIFETIME = timedelta(hours=24)
"""How long an Idempotency-Key is remembered."""


class _Known(Struct, frozen=True):
    fingerprint: str
    answer_id: UUID


class _Message(Struct, frozen=True):
    id: UUID
    key: str
    status: str
    parent_id: UUID | None


async def find(tx: Transaction, user_id: UUID, request: ChatRequest, now: datetime) -> Meaning | None:
    """What a request with a known key means; None if the key is new or missing.

    :raises Conflict: the key was used for another request.
    """
    lifetime = KEY_LIFETIME if request.caller is None else request.caller.repeats_within
    if not request.idempotency_key or lifetime is None:
        return None
    known = await _sql.idempotent.one(tx, _Known, user_id=user_id, key=request.idempotency_key, since=now - lifetime)
    if known is None:
        return None
    if known.fingerprint != fingerprint(request):
        raise Conflict("This Idempotency-Key was used for another request.")
    answer = await _sql.answer_by_id.one(tx, _Message, user_id=user_id, id=known.answer_id)
    if answer is None:
        return None
    if request.caller is not None and answer.status in {"failed", "interrupted"}:
        # A retry wants an answer. Half an answer is of no use to a program.
        question = await _sql.answer_by_id.one(tx, _Message, user_id=user_id, id=answer.parent_id)
        return None if question is None else Answer(question.id, question.key, question.parent_id)
    return None if answer.status == "failed" else Replay(answer.id)


def fingerprint(request: ChatRequest) -> str:
    """What must be equal for a key to mean the same request. The conversation is left out: the server may have named
    it."""
    parts = [request.message_id or "", request.trigger, request.feature, request.text]
    if request.caller is not None:
        parts.append(request.caller.digest)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
