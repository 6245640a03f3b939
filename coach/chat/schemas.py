"""A chat request as the AI SDK sends it. Fields that we use are read strictly, others are ignored."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import uuid4

from msgspec import Meta, Raw, Struct, field

from coach.chat.features import DEFAULT_FEATURE, FEATURES
from coach.errors import InvalidInput
from coach.http.bodies import read
from coach.http.shapes import shown_as
from coach.models.base import AS_THE_MODEL_LIKES, ModelOptions, Role
from coach.stages.stages import SessionCommand, read_command
from coach.values.ids import Id, is_id, valid_id

Trigger = Literal["submit-message", "regenerate-message"]
Speaker = Literal["system", "user", "assistant"]

MAX_TEXT = 32_000
KEY = {"Idempotency-Key": "A request with a key that was seen is a repeat: it gets the same answer and costs nothing."}
"""The header, as the API describes it; ``valid_key`` reads it."""

# The parent is among the last messages. A client that resends 100,000 messages must not make us look up all of them.
MAX_KNOWN_IDS = 1_000


class Caller(Struct, frozen=True, kw_only=True):
    """What a caller of OpenAI's protocols sends, which keeps the conversation itself.

    Its turn interrupts no other one, and ends when its last reader leaves. ``history`` is newest first; with
    ``uses_stored_history`` it stands before what is stored. ``notes`` are data, whatever role they came in. ``digest``
    is what else has to be equal for a repeat; ``repeats_within`` is how old the first attempt may be, None if this is
    it. ``kept`` is stored beside the answer.
    """

    history: tuple[tuple[Role, str], ...] = ()
    uses_stored_history: bool = False
    notes: tuple[str, ...] = ()
    options: ModelOptions = AS_THE_MODEL_LIKES
    digest: str = ""
    repeats_within: timedelta | None = None
    kept: dict[str, Any] = {}


class ChatRequest(Struct, frozen=True, kw_only=True):
    """What is asked. ``known_ids`` are (role, id) of the messages before the last, oldest first, valid ids only.

    ``names_conversation``: the client did, and not the server for it.
    """

    conversation_id: str
    names_conversation: bool = False
    message_id: str | None
    text: str
    trigger: Trigger = "submit-message"
    target_id: str | None = None
    known_ids: tuple[tuple[Speaker, str], ...] = ()
    feature: str = DEFAULT_FEATURE
    model: str | None = None
    incognito: bool = False
    idempotency_key: str | None = None
    session: SessionCommand | None = None
    caller: Caller | None = None

    @property
    def answer_ids(self) -> tuple[str, ...]:
        """The answers that the client holds, oldest first."""
        return tuple(message_id for role, message_id in self.known_ids if role == "assistant")


class _Part(Struct):
    type: Annotated[str, Meta(extra_json_schema={"const": "text"})]
    text: Annotated[Any, shown_as(Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)])] = None


class ChatMessage(Struct):
    """One message of a client's list. Only the parts of the message to answer are read."""

    role: Speaker
    id: Annotated[Any, shown_as(Id)] = None
    parts: Annotated[Raw, shown_as(list[_Part])] = field(default_factory=lambda: Raw(b"null"))


class ChatBody(Struct):
    """A request as the AI SDK sends it, over HTTP or a socket. Fields that are not listed are ignored."""

    messages: Annotated[
        list[ChatMessage],
        Meta(
            description="The last one, of role user, is answered; of the others only the ids are retrieved at.",
            extra_json_schema={"minItems": 1},
        ),
    ]
    id: Annotated[Id | None, Meta(description="The conversation; one that does not exist yet is started.")] = None
    trigger: Trigger = "submit-message"
    messageId: Annotated[Id | None, Meta(description="The id of the message that is edited.")] = None  # noqa: N815 - the protocol's name
    feature: Annotated[str, Meta(extra_json_schema={"enum": list(FEATURES)})] | None = None
    model: Annotated[str | None, Meta(description="One of the models of GET /api/config.")] = None
    incognito: Annotated[bool | None, Meta(description="Leave this conversation out of memory.")] = None
    session: Annotated[Any, shown_as(SessionCommand | None)] = None


def requested(body: ChatBody, idempotency_key: str | None = None) -> ChatRequest:
    """What a body asks for.

    :raises InvalidInput: names the JSON path of the first thing that is not as documented.
    """
    if not body.messages:
        raise InvalidInput("messages", "must hold the message to answer.")
    *earlier, last = body.messages
    at = f"messages[{len(earlier)}]"
    if last.role != "user":
        raise InvalidInput(f"{at}.role", 'the last message must be the one to answer, with role "user".')
    return ChatRequest(
        conversation_id=uuid4().hex if body.id is None else valid_id(body.id, "id"),
        names_conversation=body.id is not None,
        message_id=None if last.id is None else valid_id(last.id, f"{at}.id"),
        text=_text(last.parts, at),
        trigger=body.trigger,
        target_id=None if body.messageId is None else valid_id(body.messageId, "messageId"),
        known_ids=tuple((m.role, m.id) for m in earlier[-MAX_KNOWN_IDS:] if is_id(m.id)),
        feature=_feature(body.feature),
        model=body.model,
        incognito=bool(body.incognito),
        idempotency_key=valid_key(idempotency_key),
        session=read_command(body.session),
    )


def _text(raw: Raw, at: str) -> str:
    parts: list[_Part] = read(bytes(raw), list[_Part], f"{at}.parts")
    texts = []
    for index, part in enumerate(parts):
        path = f"{at}.parts[{index}]"
        if part.type.startswith("data-"):
            continue  # a client's own notes beside the message; stock clients do not send them to a model either
        if part.type != "text":
            raise InvalidInput(f"{path}.type", 'only "text" parts can be answered; files and images cannot be read.')
        if not isinstance(part.text, str):
            raise InvalidInput(f"{path}.text", "must be a string.")
        if "\0" in part.text:
            raise InvalidInput(f"{path}.text", "must not contain a NUL character.")
        texts.append(part.text)
    return _bounded("\n".join(texts), f"{at}.parts")


def _bounded(text: str, path: str) -> str:
    if not text.strip():
        raise InvalidInput(path, "must hold a text part that is not empty.")
    if len(text) > MAX_TEXT:
        raise InvalidInput(path, f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are accepted.")
    return text


def _feature(name: str | None) -> str:
    if name is None:
        return DEFAULT_FEATURE
    if name not in FEATURES:
        raise InvalidInput("feature", f"must be one of {', '.join(FEATURES)}.")
    return name


def valid_key(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[\x21-\x7e]{1,255}", value):
        raise InvalidInput("Idempotency-Key", "must be 1 to 255 printable ASCII characters without spaces.")
    return value
