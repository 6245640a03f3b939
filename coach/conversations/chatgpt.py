"""ChatGPT's export, ``conversations.json``: a tree of nodes a conversation, read as one in our own form.

Messages between the user and the assistant are kept. Nodes without a text (the root, system and tool messages, hidden
ones, input of a tool) are skipped: their children become children of the next kept node above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from coach.chat.schemas import MAX_TEXT
from coach.conversations.schemas import MAX_TITLE
from coach.values.ids import is_id

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_PLACEHOLDERS = {
    "image_asset_pointer": "[image]",
    "audio_asset_pointer": "[audio]",
    "real_time_user_audio_video_asset_pointer": "[audio]",
    "video_container_asset_pointer": "[video]",
}
_CITATION = re.compile("\ue200[^\ue201]*\ue201|【[^】]*†[^】]*】")
"""Marks that ChatGPT's own pages turn into links."""


def is_chatgpt(conversation: dict[str, Any]) -> bool:
    return "mapping" in conversation


def conversation_of(sent: dict[str, Any]) -> dict[str, Any]:
    """The conversation in our own form; every message names its parent, and is later than it."""
    nodes = sent["mapping"] if isinstance(sent["mapping"], dict) else {}
    created = moment(sent.get("create_time")) or _EARLIEST
    kept: dict[str, tuple[str | None, datetime]] = {}
    messages: list[dict[str, Any]] = []
    for node_id, above in _walk(nodes):
        parent, least = kept.get(above or "", (None, created))
        node = nodes[node_id]
        message = node["message"] if isinstance(node, dict) and isinstance(node.get("message"), dict) else {}
        pieces = list(_pieces(_said(message)))
        for number, text in enumerate(pieces):
            said_at = max(moment(message.get("create_time")) or least, least + timedelta(microseconds=1))
            key = _key(node_id) if number == 0 else f"{_key(node_id)[:120]}~{number + 1}"
            messages.append(
                {
                    "id": key,
                    "role": message["author"]["role"],
                    "content": text,
                    "created_at": said_at.isoformat(),
                    "parent_id": parent,
                }
            )
            parent, least = key, said_at
        kept[node_id] = (parent, least)
    told: dict[str, Any] = {
        "id": _key(str(sent.get("conversation_id") or sent.get("id") or _fingerprint(sent))),
        "title": str(sent.get("title") or "").replace("\0", "")[:MAX_TITLE],
        "created_at": created.isoformat(),
        "messages": messages,
    }
    leaf, _ = kept.get(str(sent.get("current_node")), (None, created))
    return told | ({"current_message_id": leaf} if leaf else {})


def _walk(nodes: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Each node after its parent, in the order of the file; a circle is entered nowhere."""
    children: dict[str | None, list[str]] = {}
    for node_id, node in nodes.items():
        parent = node.get("parent") if isinstance(node, dict) else None
        known = isinstance(parent, str) and parent in nodes
        children.setdefault(parent if known else None, []).append(node_id)
    waiting: list[tuple[str, str | None]] = [(each, None) for each in reversed(children.get(None, []))]
    while waiting:
        node_id, parent = waiting.pop()
        yield node_id, parent
        waiting.extend((child, node_id) for child in reversed(children.get(node_id, [])))


def _said(message: dict[str, Any]) -> str:
    """The text that a reader of the conversation would see; empty if there is none."""
    author, content = message.get("author"), message.get("content")
    metadata = message.get("metadata")
    if not isinstance(author, dict) or author.get("role") not in ("user", "assistant") or not isinstance(content, dict):
        return ""
    if isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation"):
        return ""
    if message.get("recipient") not in (None, "all"):
        return ""
    if content.get("content_type") not in ("text", "multimodal_text", "code"):
        return ""
    parts = content["parts"] if isinstance(content.get("parts"), list) else [content.get("text")]
    text = "\n".join(piece for part in parts if (piece := _part(part)))
    return _CITATION.sub("", text).replace("\0", "").strip()


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else _PLACEHOLDERS.get(str(part.get("content_type")), "")


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
    """Unix seconds, with fractions; None where it is no such time."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return found if _EARLIEST <= found <= datetime.now(UTC) else None


def _key(text: str) -> str:
    """The id as it is, or an id made from it if it is no valid id here."""
    return text if is_id(text) else f"chatgpt-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _fingerprint(sent: dict[str, Any]) -> str:
    return f"{sent.get('title')}\n{sent.get('create_time')}\n{sorted(map(str, sent['mapping']))[:1]}"
