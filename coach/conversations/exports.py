"""Other programs' exports as trees of nodes: ChatGPT's, DeepSeek's, Claude's, Open WebUI's, LibreChat's and their like.

Messages between the user and the assistant are kept. Nodes without a text (the root, system and tool messages, hidden
ones, thoughts) are skipped: their children become children of the next kept node above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Generic, TypeVar

from msgspec import Struct

from coach.conversations.export_nodes import (
    CREATED,
    EARLIEST,
    TURN_ABOUT,
    Node,
    field_of,
    first_of,
    is_node_of_list,
    moment,
    nodes_of,
)
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
_LEAVES = ("current_node", "current_leaf_message_uuid", "currentId")


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
    history = field_of(sent.get("chat"), "history")
    tree = place_nodes(read_nodes(_container(sent)), {**sent, "currentId": field_of(history, "currentId")})
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
            found = field_of(found, name)
        if path == ("messages",):
            return found if isinstance(found, list) and found and is_node_of_list(found[0]) else None
        if found is not None or (path == ("mapping",) and "mapping" in sent):
            return found or {}
    return None


def read_nodes(container: Any) -> list[Node[str]]:
    nodes: list[Node[str]] = []
    pairs = container.items() if isinstance(container, dict) else enumerate(container if container else ())
    for key, value in pairs:
        nodes += nodes_of(value, key, nodes[-1].id if nodes else None)
    return nodes


def place_nodes(nodes: Iterable[Node[T]], head: Mapping[str, Any]) -> Tree[T]:
    """The tree of ``nodes``, with ids, a title and times of ours. ``head`` has the conversation's other fields."""
    by_id = {node.id: node for node in nodes}
    created = moment(first_of(head, CREATED)) or EARLIEST
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
    name = first_of(head, _IDS) or f"{head.get('title')}\n{head.get('create_time')}\n{sorted(by_id)[:1]}"
    title = str(first_of(head, _TITLES) or "").replace("\0", "")[:MAX_TITLE]
    shown = kept.get(str(first_of(head, _LEAVES)))
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


def _key(text: str) -> str:
    """The id as it is, or an id made from it if it is no valid id here."""
    return text if is_id(text) else f"chatgpt-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"
