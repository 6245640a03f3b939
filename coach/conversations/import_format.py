"""One message in our own form, read value by value. A faulty message does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct

from coach.chat.schemas import MAX_TEXT
from coach.conversations.exports import Tree
from coach.conversations.import_schemas import MAX_NAME, SentConversation, SentMessage
from coach.conversations.schemas import MAX_TITLE
from coach.conversations.spool import SpooledText
from coach.errors import FieldError
from coach.values.ids import is_id

AHEAD = timedelta(days=1)
"""How far a clock elsewhere may be ahead of ours."""

_ID = "must be 1 to 128 characters out of A-Z a-z 0-9 . _ : ~ - and neither . nor .."
_Moment = Annotated[datetime, Meta(tz=True)]
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class ImportedMessage(Struct, frozen=True):
    """``is_placed``: it names its parent (or that it has none); else it stands after the one before it in time."""

    key: str
    role: Literal["user", "assistant"]
    text: SpooledText
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


class OwnMessage(Struct, frozen=True):
    """A message as it was sent, with its place in the list. ``said_at`` None: just after the one before it."""

    place: int
    message: ImportedMessage
    has_time: bool


def read_message(sent: Any, place: int, now: datetime, write: Callable[[str], SpooledText]) -> OwnMessage:
    """:raises ImportFault: what is wrong with it."""
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
    has_time = sent.get("created_at") is not None
    said_at = _moment(sent["created_at"], ".created_at", now) if has_time else now
    message = ImportedMessage(key, role, write(content), said_at, name, parent, "parent_id" in sent)
    return OwnMessage(place, message, has_time)


def own_conversation(
    head: Mapping[str, Any], sent: Sequence[OwnMessage], path: str, errors: list[FieldError], now: datetime
) -> ImportedConversation:
    """The conversation of a ``head``; faults of its messages go to ``errors``.

    :raises ImportFault: what is wrong with the conversation itself.
    """
    if others := set(head) - set(SentConversation.__struct_fields__):
        raise ImportFault(f".{min(others)}", "is not a field here.")
    key, title, leaf = head.get("id"), head.get("title") or "", head.get("current_message_id")
    if not isinstance(key, str) or not is_id(key):
        raise ImportFault(".id", _ID)
    if leaf is not None and not is_id(leaf):
        raise ImportFault(".current_message_id", _ID)
    created = None if head.get("created_at") is None else _moment(head["created_at"], ".created_at", now)
    title = " ".join(_text(title, ".title", MAX_TITLE).split())
    messages: dict[str, ImportedMessage] = {}
    last = created or now
    for each in sent:
        last = each.message.said_at if each.has_time else last
        message = msgspec.structs.replace(each.message, said_at=last)
        if messages.setdefault(message.key, message).text.digest != message.text.digest:
            why = "stands twice in this call, with two texts."
            errors.append(FieldError(f"{path}.messages[{each.place}].id", why))
    ordered = _in_order(list(messages.values()), path, errors)
    return ImportedConversation(key, title, created or (ordered[0].said_at if ordered else now), tuple(ordered), leaf)


def exported_conversation(tree: Tree[SpooledText]) -> ImportedConversation:
    messages = [
        ImportedMessage(
            each.key, cast("Literal['user', 'assistant']", each.role), each.text, each.said_at, None, each.parent, True
        )
        for each in tree.messages
    ]
    ordered = tuple(sorted({each.key: each for each in messages}.values(), key=lambda each: each.said_at))
    return ImportedConversation(tree.key, " ".join(tree.title.split()), tree.created_at, ordered, tree.leaf)


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
    if not _EARLIEST <= moment <= now + AHEAD:
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
