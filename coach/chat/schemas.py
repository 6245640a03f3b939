"""A chat request as the AI SDK sends it, read strictly where it matters and not at all where it does not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Literal, TypeVar, get_args
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct, field

from coach.chat.features import DEFAULT_FEATURE, FEATURES
from coach.errors import InvalidInput
from coach.models.base import AS_THE_MODEL_LIKES, ModelOptions, Role
from coach.stages.stages import SessionCommand, read_command
from coach.values.ids import is_id, valid_id

T = TypeVar("T")
Trigger = Literal["submit-message", "regenerate-message"]
Speaker = Literal["system", "user", "assistant"]

MAX_TEXT = 32_000

# The parent is among the last messages; a client that resends 100,000 must not make us look all of them up.
MAX_KNOWN_IDS = 1_000


class Caller(Struct, frozen=True, kw_only=True):
    """What comes along from a caller that keeps the conversation itself, as OpenAI's protocols have it.

    Its turn interrupts no other one, and ends when its last reader leaves. ``history`` is newest first, before what is
    stored where ``recalls`` is set; ``notes`` are data, whatever role they came in. ``digest`` is what else has to be
    equal for a repeat; ``repeats_within`` how old the first attempt may be, None where this is it. ``kept`` is stored
    beside the answer.
    """

    history: tuple[tuple[Role, str], ...] = ()
    recalls: bool = False
    notes: tuple[str, ...] = ()
    options: ModelOptions = AS_THE_MODEL_LIKES
    digest: str = ""
    repeats_within: timedelta | None = None
    kept: dict[str, Any] = {}


class ChatRequest(Struct, frozen=True, kw_only=True):
    """What is asked. ``known_ids`` are (role, id) of the messages before the last, oldest first, valid ids only."""

    conversation_id: str
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


class Message(Struct):
    """One message of a client's list. Its parts are looked at where it is the one to answer."""

    role: Speaker
    id: Any = None
    parts: Raw = field(default_factory=lambda: Raw(b"null"))


class Body(Struct):
    """A request as the AI SDK sends it, whatever way it came."""

    messages: list[Message]
    id: str | None = None
    trigger: Trigger = "submit-message"
    messageId: str | None = None  # noqa: N815 - the protocol's name
    feature: str | None = None
    model: str | None = None
    incognito: bool | None = None
    session: Any = None


class _Part(Struct):
    type: str
    text: Any = None


_CHOICES = {"role": get_args(Speaker), "trigger": get_args(Trigger)}
_bodies = msgspec.json.Decoder(Body)
_parts = msgspec.json.Decoder(list[_Part])


def parse(body: bytes, idempotency_key: str | None = None) -> ChatRequest:
    """Read the body of ``POST /api/chat``.

    :raises InvalidInput: names the JSON path of the first thing that is not as documented.
    """
    return requested(decode(body, _bodies), idempotency_key)


def requested(read: Body, idempotency_key: str | None = None) -> ChatRequest:
    """What a body asks for.

    :raises InvalidInput: names the JSON path of the first thing that is not as documented.
    """
    if not read.messages:
        raise InvalidInput("messages", "must hold the message to answer.")
    *earlier, last = read.messages
    at = f"messages[{len(earlier)}]"
    if last.role != "user":
        raise InvalidInput(f"{at}.role", 'the last message must be the one to answer, with role "user".')
    return ChatRequest(
        conversation_id=uuid4().hex if read.id is None else valid_id(read.id, "id"),
        message_id=None if last.id is None else valid_id(last.id, f"{at}.id"),
        text=_text(last.parts, at),
        trigger=read.trigger,
        target_id=None if read.messageId is None else valid_id(read.messageId, "messageId"),
        known_ids=tuple((m.role, m.id) for m in earlier[-MAX_KNOWN_IDS:] if is_id(m.id)),
        feature=_feature(read.feature),
        model=read.model,
        incognito=bool(read.incognito),
        idempotency_key=valid_key(idempotency_key),
        session=read_command(read.session),
    )


def decode(body: bytes, decoder: msgspec.json.Decoder[T], at: str = "") -> T:
    """JSON to a typed value.

    :raises InvalidInput: not UTF-8, not JSON, or of another shape.
    """
    try:
        # As text: msgspec skips strings it does not need without looking whether they are UTF-8.
        return decoder.decode(body.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(at or "body", f"is not valid UTF-8 (byte {error.start}).") from None
    except msgspec.ValidationError as error:
        raise _wrong_shape(str(error), at) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput(at or "body", "is not valid JSON.") from None


def _wrong_shape(message: str, at: str) -> InvalidInput:
    """msgspec says ``Expected `str`, got `int` - at `$.messages[0].id```; the path is split off."""
    what, _, where = message.partition(" - at `$")
    path = f"{at}{where.rstrip('`')}".lstrip(".")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return InvalidInput(f"{path}.{missing[1]}".lstrip("."), "is required.")
    if what.startswith("Invalid enum value"):
        return InvalidInput(path, f"must be one of {', '.join(_CHOICES[path.rpartition('.')[2]])}.")
    return InvalidInput(path or "body", f"{what[0].lower()}{what[1:]}.")


def _text(raw: Raw, at: str) -> str:
    parts = decode(bytes(raw), _parts, f"{at}.parts")
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
