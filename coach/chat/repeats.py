"""Which request is a repeat of an earlier one, by its ``Idempotency-Key``."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

import msgspec

from coach.chat.meaning import Answer, Known, Meaning, Replay
from coach.chat.schemas import ChatRequest
from coach.errors import Conflict

KEY_LIFETIME = timedelta(hours=24)
"""How long an Idempotency-Key is remembered."""


def since(request: ChatRequest, now: datetime) -> datetime:
    """How old the key of a request that this one repeats may be. A caller may say that this is the first attempt."""
    lifetime = KEY_LIFETIME if request.caller is None else request.caller.repeats_within
    return now - (lifetime or timedelta())


def meaning_of_key(known: Known | None, request: ChatRequest) -> Meaning | None:
    """What a request with a known key means; None if the key is new or missing.

    :raises Conflict: the key was used for another request.
    """
    if known is None:
        return None
    if not _is_same(known, request):
        raise Conflict("This Idempotency-Key was used for another request.")
    if request.caller is not None and known.status in {"failed", "interrupted"}:
        # A retry wants an answer. Half an answer is of no use to a program.
        return Answer(known.question_id, known.question_key or "", known.parent_id) if known.question_id else None
    return None if known.answer_id is None or known.status == "failed" else Replay(known.answer_id)


def fingerprint(request: ChatRequest) -> str:
    """What must be equal for a key to mean the same request."""
    return _digest(request, names_conversation=request.names_conversation)


def _is_same(known: Known, request: ChatRequest) -> bool:
    """A client that named no conversation at first may have learned since how the server named it."""
    if not request.names_conversation:
        return known.fingerprint == fingerprint(request)
    is_there = known.conversation in (None, request.conversation_id)
    return is_there and known.fingerprint in {_digest(request, names_conversation=named) for named in (True, False)}


def _digest(request: ChatRequest, *, names_conversation: bool) -> str:
    """Of a caller's request its own digest says all."""
    asked = (request.message_id, request.trigger, request.target_id, request.feature, request.text)
    chosen = (request.model, request.session, request.incognito, names_conversation)
    return hashlib.sha256(msgspec.json.encode((*asked, *chosen, request.caller and request.caller.digest))).hexdigest()
