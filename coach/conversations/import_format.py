"""Reads an import, in our own form or ChatGPT's, one message at a time. A faulty message does not affect the others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from coach.chat.schemas import MAX_TEXT
from coach.conversations.chatgpt import conversation_of, is_chatgpt
from coach.conversations.import_schemas import MAX_MESSAGES, MAX_NAME, Import, SentConversation, SentMessage
from coach.conversations.schemas import MAX_TITLE
from coach.errors import FieldError, InvalidInput
from coach.values.ids import is_id

AHEAD = timedelta(days=1)
"""How far a clock elsewhere may be ahead of ours."""

_ID = "must be 1 to 128 characters out of A-Z a-z 0-9 . _ : ~ - and neither . nor .."
_Moment = Annotated[datetime, Meta(tz=True)]


class ImportedMessage(Struct, frozen=True):
    """``is_placed``: it names its parent (or that it has none); else it stands after the one before it in time."""

    key: str
    role: Literal["user", "assistant"]
    content: str
    said_at: datetime
    author: str | None = None
    parent: str | None = None
    is_placed: bool = False


class ImportedConversation(Struct, frozen=True):
    """One conversation, its good messages in the order of time. ``leaf`` is the message that its export shows."""

    key: str
    title: str
    created_at: datetime
    messages: tuple[ImportedMessage, ...]
    leaf: str | None = None


class ImportFault(Exception):
    """A faulty value: its path below the item that is being read, and the reason."""

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(where)


def read_import(body: Any, now: datetime) -> tuple[list[ImportedConversation], list[FieldError]]:
    """Conversations, and what could not be taken of them by its path in ``body``, any JSON.

    :raises InvalidInput: another shape altogether, or more than one call may bring.
    """
    sent, at = _conversations(body)
    if len(sent) > MAX_MESSAGES:
        raise InvalidInput(at or "body", f"has {len(sent):,} conversations; at most {MAX_MESSAGES} a call.")
    found, errors, count = list[ImportedConversation](), list[FieldError](), 0
    for place, each in enumerate(sent):
        path = f"{at}[{place}]"
        try:
            plain = _plain(each)
            count += len(plain["messages"])
            found.append(_conversation(plain, path, errors, now))
        except ImportFault as wrong:
            errors.append(FieldError(f"{path}{wrong.where}", wrong.why))
    if count > MAX_MESSAGES:
        raise InvalidInput(at or "body", f"holds {count:,} messages; at most {MAX_MESSAGES} a call.")
    return found, errors


def _conversations(sent: Any) -> tuple[list[Any], str]:
    """The list and its path: ChatGPT's file is one list, ours an object."""
    if isinstance(sent, list):
        return sent, ""
    if not isinstance(sent, dict) or not isinstance(sent.get("conversations"), list):
        raise InvalidInput("conversations", "must be a list of conversations.")
    if others := set(sent) - set(Import.__struct_fields__):
        raise InvalidInput(min(others), "is not a field here.")
    return sent["conversations"], "conversations"


def _plain(sent: Any) -> dict[str, Any]:
    """A conversation in our own form, whichever it came in."""
    if not isinstance(sent, dict):
        raise ImportFault("", "must be a conversation.")
    plain = conversation_of(sent) if is_chatgpt(sent) else sent
    if others := set(plain) - set(SentConversation.__struct_fields__):
        raise ImportFault(f".{min(others)}", "is not a field here.")
    if not isinstance(plain.get("messages"), list):
        raise ImportFault(".messages", "must be a list of messages.")
    return plain


def _conversation(sent: dict[str, Any], path: str, errors: list[FieldError], now: datetime) -> ImportedConversation:
    key, title = sent.get("id"), sent.get("title") or ""
    if not isinstance(key, str) or not is_id(key):
        raise ImportFault(".id", _ID)
    leaf = sent.get("current_message_id")
    if leaf is not None and not is_id(leaf):
        raise ImportFault(".current_message_id", _ID)
    created = None if sent.get("created_at") is None else _moment(sent["created_at"], ".created_at", now)
    title = " ".join(_text(title, ".title", MAX_TITLE).split())
    messages: dict[str, ImportedMessage] = {}
    last = created
    for place, each in enumerate(sent["messages"]):
        try:
            message = _message(each, last or now, now)
            if (twin := messages.get(message.key)) and twin.content != message.content:
                raise ImportFault(".id", "stands twice in this call, with two texts.")  # noqa: TRY301 - beside its like
            messages.setdefault(message.key, message)
            last = message.said_at
        except ImportFault as wrong:
            errors.append(FieldError(f"{path}.messages[{place}]{wrong.where}", wrong.why))
    ordered = _in_order(list(messages.values()), path, errors)
    return ImportedConversation(key, title, created or (ordered[0].said_at if ordered else now), tuple(ordered), leaf)


def _message(sent: Any, before: datetime, now: datetime) -> ImportedMessage:
    if not isinstance(sent, dict):
        raise ImportFault("", "must be a message.")
    if others := set(sent) - set(SentMessage.__struct_fields__):
        raise ImportFault(f".{min(others)}", "is not a field here.")
    key, role, parent = sent.get("id"), sent.get("role"), sent.get("parent_id")
    if not isinstance(key, str) or not is_id(key):
        raise ImportFault(".id", _ID)
    if role not in ("user", "assistant"):
        raise ImportFault(".role", "must be one of user, assistant.")
    if parent is not None and not is_id(parent):
        raise ImportFault(".parent_id", _ID)
    content = _text(sent.get("content"), ".content", MAX_TEXT)
    if not content.strip():
        raise ImportFault(".content", f"must have 1 to {MAX_TEXT:,} characters.")
    name = None if sent.get("name") is None else _text(sent["name"], ".name", MAX_NAME).strip() or None
    said_at = before if sent.get("created_at") is None else _moment(sent["created_at"], ".created_at", now)
    return ImportedMessage(key, role, content, said_at, name, parent, "parent_id" in sent)


def _text(value: Any, where: str, limit: int) -> str:
    if not isinstance(value, str):
        raise ImportFault(where, "must be a string.")
    if "\0" in value:
        raise ImportFault(where, "must not contain a NUL character.")
    if len(value) > limit:
        raise ImportFault(where, f"has {len(value):,} characters; at most {limit:,} are accepted.")
    return value


def _moment(value: Any, where: str, now: datetime) -> datetime:
    try:
        moment = msgspec.convert(value, _Moment) if isinstance(value, str) else None
    except msgspec.ValidationError:
        moment = None
    if moment is None:
        raise ImportFault(where, "must be a time as 2026-03-01T08:30:00+01:00, with its offset.")
    if not datetime(1970, 1, 1, tzinfo=UTC) <= moment <= now + AHEAD:
        raise ImportFault(where, "must lie between 1970 and now.")
    return moment.astimezone(UTC)


def _in_order(messages: Sequence[ImportedMessage], path: str, errors: list[FieldError]) -> list[ImportedMessage]:
    """By time, and strictly so: messages of one second keep their order, and none is older than its parent."""
    waiting = {message.key: message for message in messages}
    placed: dict[str, ImportedMessage] = {}
    last: datetime | None = None
    for message in sorted(messages, key=lambda each: each.said_at):
        chain, at = list[ImportedMessage](), message
        while at.key in waiting:
            del waiting[at.key]
            chain.append(at)
            if at.parent is None or at.parent not in waiting:
                break
            at = waiting[at.parent]
        if chain and chain[-1].parent in {each.key for each in chain}:
            errors.append(FieldError(f"{path}.messages", f"{chain[-1].key} is below itself; it was left out."))
            chain.pop()
        for each in reversed(chain):
            above = placed.get(each.parent or "") if each.is_placed else None
            least = above.said_at if above else None if each.is_placed else last
            moment = each.said_at if least is None or each.said_at > least else least + timedelta(microseconds=1)
            placed[each.key] = msgspec.structs.replace(each, said_at=moment)
            last = moment if not each.is_placed else last
    return sorted(placed.values(), key=lambda each: each.said_at)
