"""One node of another program's export: who said it, when, and the text that a reader of the conversation would see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from coach.chat.schemas import MAX_TEXT

T = TypeVar("T")

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
CREATED = ("create_time", "created_at", "inserted_at", "createdAt", "timestamp")
_NODE_IDS = ("id", "uuid", "messageId", "message_id")
_PARENTS = ("parent", "parent_id", "parentId", "parentMessageId", "parent_message_uuid")
_ROLES = {
    "user": "user", "human": "user", "request": "user",
    "assistant": "assistant", "ai": "assistant", "bot": "assistant", "model": "assistant", "response": "assistant",
}  # fmt: skip
TURN_ABOUT = "turn about"
"""The role of a node that tells none: the other one than above it, and first the user's."""
_THOUGHTS = ("think", "thinking", "reasoning", "thoughts")
_MILLISECONDS = 1e11
_PLACEHOLDERS = {
    "image_asset_pointer": "[image]",
    "audio_asset_pointer": "[audio]",
    "real_time_user_audio_video_asset_pointer": "[audio]",
    "video_container_asset_pointer": "[video]",
}
_CITATION = re.compile("\ue200[^\ue201]*\ue201|【[^】]*†[^】]*】")
"""Marks that ChatGPT's own pages turn into links."""


class Node(Struct, Generic[T], frozen=True):
    """One node of an export. ``role`` is ``user``, ``assistant``, ``TURN_ABOUT`` or empty.

    ``texts`` are several where a text is longer than a message may be.
    """

    id: str
    parent: str | None
    role: str
    said_at: datetime | None
    texts: tuple[T, ...]


def is_node_of_list(value: Any) -> bool:
    """Whether an element of ``messages`` is another program's, and not a message in our own form."""
    return isinstance(value, dict) and not {"messageId", "message_id", "sender", "isCreatedByUser"}.isdisjoint(value)


def nodes_of(value: Any, key: str | int, before: str | None) -> Iterator[Node[str]]:
    """The node, and those inside it. One of a list (``key`` is its number) that names no parent follows ``before``."""
    waiting: list[tuple[Any, str | int, str | None]] = [(value, key, before)]
    while waiting:
        sent, name, above = waiting.pop()
        if not isinstance(sent, dict):
            continue
        node_id = name if isinstance(name, str) else str(first_of(sent, _NODE_IDS) or name)
        is_placed = isinstance(name, str) or any(each in sent for each in _PARENTS)
        parent = first_of(sent, _PARENTS) if is_placed else above
        message = sent.get("message", sent)
        message = message if isinstance(message, dict) else {}
        role, text = _said(message)
        said_at = moment(first_of(message, CREATED))
        yield Node(node_id, None if parent is None else str(parent), role, said_at, tuple(_pieces(text)))
        children = sent["children"] if isinstance(sent.get("children"), list) else []
        waiting += [(each, number, node_id) for number, each in enumerate(children)]


def _said(message: dict[str, Any]) -> tuple[str, str]:
    """Who said it, and the text that a reader of the conversation would see; empty if there is none."""
    metadata = message.get("metadata")
    if isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation"):
        return "", ""
    fragments = message.get("fragments")
    said = [each for each in fragments if _role(field_of(each, "type"))] if isinstance(fragments, list) else []
    author = _role(field_of(said[0], "type")) if said else _author(message)
    if not author and "fragments" not in message and {"author", "role", "sender"}.isdisjoint(message):
        author = TURN_ABOUT
    if not author or message.get("recipient") not in (None, "all"):
        return "", ""
    text = _joined(said) if said else _content(message.get("content")) or _content(message.get("text"))
    return author, _CITATION.sub("", text).replace("\0", "").strip()


def _author(message: dict[str, Any]) -> str:
    """``user``, ``assistant``, or empty."""
    if isinstance(message.get("isCreatedByUser"), bool):
        return "user" if message["isCreatedByUser"] else "assistant"
    return _role(field_of(message.get("author"), "role")) or _role(message.get("role")) or _role(message.get("sender"))


def _role(value: Any) -> str:
    return _ROLES.get(value.lower(), "") if isinstance(value, str) else ""


def _content(content: Any) -> str:
    if isinstance(content, dict):
        if content.get("content_type") not in ("text", "multimodal_text", "code"):
            return ""
        content = content["parts"] if isinstance(content.get("parts"), list) else content.get("text")
    return _joined(content) if isinstance(content, list) else content if isinstance(content, str) else ""


def _joined(parts: list[Any]) -> str:
    return "\n".join(piece for part in parts if (piece := _part(part)))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if str(field_of(part, "type")).lower() in _THOUGHTS:
        return ""
    for name in ("text", "content"):
        if isinstance(text := field_of(part, name), str):
            return text
    return _PLACEHOLDERS.get(str(field_of(part, "content_type")), "")


def field_of(value: Any, name: str | int) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def first_of(sent: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((sent[name] for name in names if sent.get(name) is not None), None)


def _pieces(text: str) -> Iterator[str]:
    """A text longer than a message may be becomes several, cut at a line or a word where one ends near."""
    while len(text) > MAX_TEXT:
        cut = max(text.rfind("\n", MAX_TEXT // 2, MAX_TEXT), text.rfind(" ", MAX_TEXT // 2, MAX_TEXT))
        cut = cut if cut > 0 else MAX_TEXT
        yield text[:cut]
        text = text[cut:].strip()
    if text:
        yield text


def moment(value: Any) -> datetime | None:
    """Unix seconds or milliseconds, or an ISO time; None where it is no such time."""
    try:
        if isinstance(value, str):
            found = msgspec.convert(value, datetime)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            return None
        else:
            found = datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS else value, UTC)
    except (msgspec.ValidationError, OverflowError, ValueError, OSError):
        return None
    return found.astimezone(UTC) if EARLIEST <= found <= datetime.now(UTC) else None
