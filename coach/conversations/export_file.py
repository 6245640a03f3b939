"""Splits a file of conversations (another program's export, zipped or not, or our own form) into pieces that one call
accepts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import msgspec
from msgspec import Struct

from coach.chat.schemas import MAX_TEXT
from coach.conversations.export_nodes import moment
from coach.conversations.exports import conversation_of, is_export
from coach.conversations.import_schemas import MAX_MESSAGES
from coach.conversations.json_stream import MalformedJson, decode
from coach.errors import CoachError

_MEMBER = re.compile(r"(?:.*/)?conversations(?:-\d+)?\.json")
_PATH = re.compile(r"conversations\[(\d+)\](?:\.messages\[(\d+)\])?")


class UnreadableExport(CoachError):
    """This file holds no conversations that could be read."""

    slug = "invalid-input"


class Piece(Struct):
    """One call: its conversations, and where each of them begins in the file."""

    conversations: list[dict[str, Any]]
    places: list[tuple[int, int]]
    count: int = 0

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"conversations": self.conversations})

    def in_file(self, path: str) -> str:
        """A path in this piece's body as one of the file's."""
        found = _PATH.match(path)
        if found is None or int(found[1]) >= len(self.places):
            return path
        conversation, first = self.places[int(found[1])]
        message = "" if found[2] is None else f".messages[{first + int(found[2])}]"
        return f"conversations[{conversation}]{message}{path[found.end() :]}"


def read_export(file: Path) -> list[dict[str, Any]]:
    """Every conversation of a file, in our own form and each message with its time.

    :raises UnreadableExport: in one line, what it is instead.
    """
    found = [conversation for text in _texts(file) for conversation in _listed(text, file)]
    if not found:
        raise UnreadableExport(f"{file} holds no conversations.")
    return [_timed(conversation_of(each) if is_export(each) else each) for each in found]


def pieces(conversations: list[dict[str, Any]]) -> Iterator[Piece]:
    """The same pieces for the same file, each as full as a call may be; long conversations go over several."""
    piece = Piece([], [])
    for place, conversation in enumerate(conversations):
        head = {name: value for name, value in conversation.items() if name != "messages"}
        messages = conversation["messages"] if isinstance(conversation.get("messages"), list) else []
        part: dict[str, Any] | None = None
        for number, each in enumerate(messages or [None]):
            if piece.count >= MAX_MESSAGES:
                yield piece
                piece, part = Piece([], []), None
            if part is None:
                part = {**head, "messages": []}
                piece.conversations.append(part)
                piece.places.append((place, number))
            if messages:
                part["messages"].append(_bearable(each))
            piece.count += 1
    if piece.conversations:
        yield piece


def _bearable(message: Any) -> Any:
    """A message that fits into no call is cut so that it is refused by its path, and the others are accepted."""
    if isinstance(message, dict) and isinstance(content := message.get("content"), str) and len(content) > MAX_TEXT:
        return {**message, "content": content[: MAX_TEXT + 1]}
    return message


def _texts(file: Path) -> Iterator[bytes]:
    try:
        if not is_zipfile(file):
            yield file.read_bytes()
            return
        with ZipFile(file) as archive:
            names = sorted(name for name in archive.namelist() if _MEMBER.fullmatch(name))
            if not names:
                raise UnreadableExport(f"{file} is a zip without a conversations.json; is it a ChatGPT export?")
            for name in names:
                yield archive.read(name)
    except (OSError, BadZipFile, RuntimeError) as error:  # the last: encrypted, or packed in an unknown way
        raise UnreadableExport(f"{file} cannot be read ({type(error).__name__}).") from None


def _listed(text: bytes, file: Path) -> list[dict[str, Any]]:
    try:
        sent = decode(text.removeprefix(b"\xef\xbb\xbf"))
    except MalformedJson:
        raise UnreadableExport(f"{file} is neither JSON nor a zip; expected conversations.json of an export.") from None
    found = [sent] if _is_one(sent) else sent.get("conversations") if isinstance(sent, dict) else sent
    if not isinstance(found, list) or not all(map(_is_one, found)):
        raise UnreadableExport(
            f"{file} is JSON, but no list of conversations; expected conversations.json of an export of ChatGPT, "
            'DeepSeek, Claude, Open WebUI or LibreChat, or {"conversations": [{"id": …, "title": …, "messages": […]}]}.'
        )
    return found


def _is_one(sent: Any) -> bool:
    return isinstance(sent, dict) and (is_export(sent) or "messages" in sent)


def _timed(conversation: dict[str, Any]) -> dict[str, Any]:
    """Give messages without a time a time. In another piece their order would be lost."""
    messages = conversation["messages"]
    if not isinstance(messages, list) or all(not isinstance(m, dict) or m.get("created_at") for m in messages):
        return conversation
    last = moment(conversation.get("created_at")) or datetime(1970, 1, 2, tzinfo=UTC)
    timed: list[Any] = []
    for message in messages:
        if isinstance(message, dict):
            last = moment(message.get("created_at")) or last + timedelta(microseconds=1)
            message = {**message, "created_at": message.get("created_at") or last.isoformat()}  # noqa: PLW2901
        timed.append(message)
    return {**conversation, "messages": timed}
