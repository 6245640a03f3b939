"""From a call to a turn: where it is stored, what it repeats, what stands before it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.chat.repeats import KEY_LIFETIME
from coach.chat.schemas import Caller, ChatRequest, valid_key
from coach.database.pool import Database
from coach.openai_api import repository
from coach.openai_api.calls import Call, ResponseCall
from coach.openai_api.response_objects import Facts
from coach.values.ids import valid_id

RETRY_WITHIN = timedelta(minutes=10)
WEBUI_CHAT = "X-OpenWebUI-Chat-Id"
CONVERSATION_HEADERS = ("X-Conversation-ID", WEBUI_CHAT)


class IncomingCall(Struct, frozen=True):
    """What of a request is not in its call. ``raw`` is the body as it came."""

    user_id: UUID
    path: str
    headers: Mapping[str, str]
    raw: bytes
    now: datetime

    @property
    def named(self) -> str | None:
        """The conversation that a header names.

        :raises InvalidInput: naming the header.
        """
        for name in CONVERSATION_HEADERS:
            if name in self.headers and not self.temporary:
                return valid_id(self.headers[name], name)
        return None

    @property
    def temporary(self) -> str:
        """What Open WebUI calls a chat that it does not keep: ``local``, or ``local:`` and its socket's id."""
        chat = self.headers.get(WEBUI_CHAT, "")
        return chat if chat.startswith("local") else ""

    @property
    def digest(self) -> str:
        """Equal for equal requests only."""
        whole = b"\0".join((self.path.encode(), (self.temporary or self.named or "").encode(), self.raw))
        return hashlib.sha256(whole).hexdigest()

    def attempt(self) -> tuple[str, timedelta | None]:
        """What an equal request is known by, and how old it may be to be the same turn; None: this is a first one."""
        given = valid_key(self.headers.get("idempotency-key"))
        if given is not None:
            return given, KEY_LIFETIME
        tried = self.headers.get("x-stainless-retry-count", "")
        return f"v1:{self.digest}", RETRY_WITHIN if tried.isdecimal() and int(tried[:9]) > 0 else None


class Place(Struct, frozen=True):
    """Where a turn is stored: its conversation, and the answer it follows, where that is known."""

    conversation_id: str
    parent: str | None = None
    uses_stored_history: bool = False
    incognito: bool = False


async def completion_request(db: Database, arrived: IncomingCall, call: Call, feature: str) -> ChatRequest:
    """A chat completion as a turn: the caller's messages are its history."""
    return _request(arrived, call, feature, await _place(db, arrived, call), {})


async def response_request(
    db: Database, arrived: IncomingCall, call: ResponseCall, feature: str, facts: Facts
) -> ChatRequest:
    """A response as a turn: what it refers to stands before the caller's messages.

    :raises NotFound: it refers to what is absent, or another user's.
    """
    place = await _response_place(db, arrived, call)
    kept = {"response": msgspec.to_builtins(facts)} if call.is_stored else {}
    return _request(arrived, call, feature, place, kept)


def facts_of(call: ResponseCall) -> Facts:
    return Facts(
        model=call.model,
        created_at=int(time.time()),
        instructions=call.instructions,
        previous_response_id=call.previous,
        conversation=call.recalled,
        max_output_tokens=call.options.max_tokens,
        temperature=call.options.temperature,
        top_p=call.options.top_p,
        store=call.is_stored,
        metadata=call.metadata,
    )


def _request(arrived: IncomingCall, call: Call, feature: str, place: Place, kept: dict[str, Any]) -> ChatRequest:
    said = call.said.within()
    key, repeats_within = arrived.attempt()
    return ChatRequest(
        conversation_id=place.conversation_id,
        message_id=None,
        text=said.question,
        known_ids=(("assistant", place.parent),) if place.parent else (),
        feature=feature,
        incognito=place.incognito,
        idempotency_key=key,
        caller=Caller(
            history=said.history,
            uses_stored_history=place.uses_stored_history,
            notes=said.notes,
            options=call.options,
            digest=arrived.digest,
            repeats_within=repeats_within,
            kept=kept,
        ),
    )


async def _place(db: Database, arrived: IncomingCall, call: Call) -> Place:
    named = _temporary(arrived, call) if arrived.temporary else arrived.named or call.conversation_id
    if named is None:
        zone = await repository.timezone_of(db, arrived.user_id)
        named = f"openai:{arrived.now.astimezone(zone):%Y-%m-%d}"
    answered = next((text for role, text in call.said.history if role == "assistant"), None)
    parent = await repository.find_answer_by_text(db, arrived.user_id, named, answered) if answered else None
    return Place(named, parent, incognito=bool(arrived.temporary))


def _temporary(arrived: IncomingCall, call: Call) -> str:
    """A conversation for each temporary chat: Open WebUI gives all those of a browser's tab the same name."""
    first = call.said.history[-1][1] if call.said.history else call.said.question
    return f"temporary:{hashlib.sha256(f'{arrived.temporary}{first}'.encode()).hexdigest()[:32]}"


async def _response_place(db: Database, arrived: IncomingCall, call: ResponseCall) -> Place:
    if call.previous is not None:
        previous = await repository.stored_response(db, arrived.user_id, call.previous)
        return Place(previous.conversation_id, previous.message_id, uses_stored_history=True)
    if call.recalled is not None:
        conversation = valid_id(call.recalled, "conversation")
        await repository.require_conversation(db, arrived.user_id, conversation)
        return Place(conversation, uses_stored_history=True)
    place = await _place(db, arrived, call)
    if place.incognito or call.is_stored or arrived.named or call.conversation_id:
        return place
    # Not stored for later: goes to a separate conversation of the day, which memory leaves out.
    return Place(f"{place.conversation_id}:unstored", incognito=True)
