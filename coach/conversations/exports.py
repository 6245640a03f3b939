"""Other programs' exports as trees of nodes: ChatGPT's, DeepSeek's, Claude's, Open WebUI's, LibreChat's and their like.

Messages between the user and the assistant are kept. Nodes without a text (the root, system and tool messages, hidden
ones, thoughts) are skipped: their children become children of the next kept node above.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from coach.chat.schemas import MAX_TEXT
from coach.conversations.schemas import MAX_TITLE
from coach.values.ids import is_id

T = TypeVar("T")

SHAPES: dict[tuple[str | int, ...], str] = {
    ("mapping",): "ChatGPT's and DeepSeek's (mapping)",
    ("chat_messages",): "Claude's (chat_messages)",
    ("chat", "history", "messages"): "Open WebUI's (chat.history.messages)",
    ("messages",): "LibreChat's (messages with messageId)",
}
"""Where a conversation's nodes are: an object by their ids, or a list."""

_IDS = ("conversation_id", "conversationId", "id", "uuid")
_TITLES = ("title", "name")
_CREATED = ("create_time", "created_at", "inserted_at", "createdAt", "timestamp")
_LEAVES = ("current_node", "current_leaf_message_uuid", "currentId")
_NODE_IDS = ("id", "uuid", "messageId", "message_id")
_PARENTS = ("parent", "parent_id", "parentId", "parentMessageId", "parent_message_uuid")
_ROLES = {
    "user": "user", "human": "user", "request": "user",
    "assistant": "assistant", "ai": "assistant", "bot": "assistant", "model": "assistant", "response": "assistant",
}  # fmt: skip
TURN_ABOUT = "turn about"
"""The role of a node that tells none: the other one than above it, and first the user's."""
_THOUGHTS = ("think", "thinking", "reasoning", "thoughts")
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
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


class Placed(Struct, Generic[T], frozen=True):
    """A kept text with an id of ours, later than its parent."""

    key: str
    role: str
    text: T
    said_at: datetime
    parent: str | None


class Tree(Struct, Generic[T], frozen=True):
    """A conversation of an export. ``leaf`` is the message that its program shows last."""

    key: str
    title: str
    created_at: datetime
    messages: tuple[Placed[T], ...]
    leaf: str | None


def is_export(conversation: Mapping[str, Any]) -> bool:
    """Whether it is another program's, and not in our own form."""
    return _container(conversation) is not None


def conversation_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The conversation in our own form; every message names its parent, and is later than it."""
    history = _field(sent.get("chat"), "history")
    tree = place_nodes(read_nodes(_container(sent)), {**sent, "currentId": _field(history, "currentId")})
    told: dict[str, Any] = {
        "id": tree.key,
        "title": tree.title,
        "created_at": tree.created_at.isoformat(),
        "messages": [
            {
                "id": message.key,
                "role": message.role,
                "content": message.text,
                "created_at": message.said_at.isoformat(),
                "parent_id": message.parent,
            }
            for message in tree.messages
        ],
    }
    return told | ({"current_message_id": tree.leaf} if tree.leaf else {})


def _container(sent: Mapping[str, Any]) -> Any:
    for path in SHAPES:
        found: Any = sent
        for name in path:
            found = _field(found, name)
        if path == ("messages",):
            return found if isinstance(found, list) and found and is_node_of_list(found[0]) else None
        if found is not None or (path == ("mapping",) and "mapping" in sent):
            return found or {}
    return None


def is_node_of_list(value: Any) -> bool:
    """Whether an element of ``messages`` is another program's, and not a message in our own form."""
    return isinstance(value, dict) and not {"messageId", "message_id", "sender", "isCreatedByUser"}.isdisjoint(value)


def read_nodes(container: Any) -> list[Node[str]]:
    nodes: list[Node[str]] = []
    pairs = container.items() if isinstance(container, dict) else enumerate(container if container else ())
    for key, value in pairs:
        nodes += nodes_of(value, key, nodes[-1].id if nodes else None)
    return nodes


def nodes_of(value: Any, key: str | int, before: str | None) -> Iterator[Node[str]]:
    """The node, and those inside it. One of a list (``key`` is its number) that names no parent follows ``before``."""
    waiting: list[tuple[Any, str | int, str | None]] = [(value, key, before)]
    while waiting:
        sent, name, above = waiting.pop()
        if not isinstance(sent, dict):
            continue
        node_id = name if isinstance(name, str) else str(_first(sent, _NODE_IDS) or name)
        is_placed = isinstance(name, str) or any(each in sent for each in _PARENTS)
        parent = _first(sent, _PARENTS) if is_placed else above
        message = sent.get("message", sent)
        message = message if isinstance(message, dict) else {}
        role, text = _said(message)
        said_at = moment(_first(message, _CREATED))
        yield Node(node_id, None if parent is None else str(parent), role, said_at, tuple(_pieces(text)))
        children = sent["children"] if isinstance(sent.get("children"), list) else []
        waiting += [(each, number, node_id) for number, each in enumerate(children)]


def place_nodes(nodes: Iterable[Node[T]], head: Mapping[str, Any]) -> Tree[T]:
    """The tree of ``nodes``, with ids, a title and times of ours. ``head`` has the conversation's other fields."""
    by_id = {node.id: node for node in nodes}
    created = moment(_first(head, _CREATED)) or _EARLIEST
    kept: dict[str, tuple[str | None, datetime, str]] = {}
    messages: list[Placed[T]] = []
    for node_id, above in _walk({node.id: node.parent for node in by_id.values()}):
        parent, least, role = kept.get(above or "", (None, created, "assistant"))
        node = by_id[node_id]
        if node.texts:
            role = node.role if node.role != TURN_ABOUT else "user" if role == "assistant" else "assistant"
        for number, text in enumerate(node.texts):
            said_at = max(node.said_at or least, least + timedelta(microseconds=1))
            key = _key(node_id) if number == 0 else f"{_key(node_id)[:120]}~{number + 1}"
            messages.append(Placed(key, role, text, said_at, parent))
            parent, least = key, said_at
        kept[node_id] = (parent, least, role)
    name = _first(head, _IDS) or f"{head.get('title')}\n{head.get('create_time')}\n{sorted(by_id)[:1]}"
    title = str(_first(head, _TITLES) or "").replace("\0", "")[:MAX_TITLE]
    shown = kept.get(str(_first(head, _LEAVES)))
    return Tree(_key(str(name)), title, created, tuple(messages), shown[0] if shown else None)


def _walk(parents: Mapping[str, str | None]) -> Iterator[tuple[str, str | None]]:
    """Each node after its parent, in the order of the file; a circle is entered nowhere."""
    children: dict[str | None, list[str]] = {}
    for node_id, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(node_id)
    waiting: list[tuple[str, str | None]] = [(each, None) for each in reversed(children.get(None, []))]
    while waiting:
        node_id, above = waiting.pop()
        yield node_id, above
        waiting.extend((child, node_id) for child in reversed(children.get(node_id, [])))


def _said(message: dict[str, Any]) -> tuple[str, str]:
    """Who said it, and the text that a reader of the conversation would see; empty if there is none."""
    metadata = message.get("metadata")
    if isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation"):
        return "", ""
    fragments = message.get("fragments")
    said = [each for each in fragments if _role(_field(each, "type"))] if isinstance(fragments, list) else []
    author = _role(_field(said[0], "type")) if said else _author(message)
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
    return _role(_field(message.get("author"), "role")) or _role(message.get("role")) or _role(message.get("sender"))


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
    if str(_field(part, "type")).lower() in _THOUGHTS:
        return ""
    for name in ("text", "content"):
        if isinstance(text := _field(part, name), str):
            return text
    return _PLACEHOLDERS.get(str(_field(part, "content_type")), "")


def _field(value: Any, name: str | int) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _first(sent: Mapping[str, Any], names: tuple[str, ...]) -> Any:
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
    return found.astimezone(UTC) if _EARLIEST <= found <= datetime.now(UTC) else None


def _key(text: str) -> str:
    """The id as it is, or an id made from it if it is no valid id here."""
    return text if is_id(text) else f"chatgpt-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"
