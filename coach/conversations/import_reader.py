"""Reads an import while it arrives, in our own form or another program's: no more than one message is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from coach.conversations.export_nodes import Node, is_node_of_list, nodes_of
from coach.conversations.exports import SHAPES, place_nodes
from coach.conversations.import_format import (
    ImportedConversation,
    ImportFault,
    OwnMessage,
    exported_conversation,
    own_conversation,
    read_message,
)
from coach.conversations.import_schemas import MAX_MESSAGES, Import
from coach.conversations.json_stream import Closed, Event, JsonStream, MalformedJson, Path, decode
from coach.conversations.spool import Spool, SpooledText
from coach.errors import FieldError, InvalidInput

MAX_VALUE = 2 * 1024 * 1024
"""Bytes of one message as JSON. The longest that is taken has 384,000, with each character written as two escapes."""
MAX_NODES = 20 * MAX_MESSAGES
"""Nodes of other programs' exports; most hold a tool's call, a thought or nothing."""
MAX_FIELDS = 100

OWN = "our own form (messages)"
_MESSAGES = ("messages",)
_NODES = {path for path in SHAPES if path != _MESSAGES}
_STEPS = {("chat",), ("chat", "history"), *_NODES}
_LISTS = {_MESSAGES, *_NODES}


class _Draft:
    """A conversation that is arriving."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.head: dict[str, Any] = {}
        self.shape = ""
        self.own: list[OwnMessage] = []
        self.nodes: list[Node[SpooledText]] = []
        self.errors: list[FieldError] = []
        self.fault: ImportFault | None = None


class ImportReader:
    """``feed`` it what arrives, then ``finish``. Texts are written to ``spool``."""

    def __init__(self, spool: Spool, now: datetime) -> None:
        self._spool, self._now = spool, now
        self._stream = JsonStream(_is_stepped_into, MAX_VALUE)
        self._found: list[ImportedConversation] = []
        self._errors: list[FieldError] = []
        self._shapes: dict[str, int] = {}
        self._root = _Draft("")
        self._draft: _Draft | None = None
        self._list: str | None = None
        self._conversations = self._messages = self._nodes = 0

    def feed(self, data: bytes) -> None:
        """:raises InvalidInput: no JSON, another shape altogether, or more than one call may bring."""
        try:
            for event in self._stream.feed(data):
                self._take(event)
        except MalformedJson:
            raise InvalidInput("body", "is not valid JSON.") from None

    def finish(self) -> tuple[list[ImportedConversation], list[FieldError]]:
        """Conversations, and what could not be taken of them by its path in the body.

        :raises InvalidInput: as above, or there is nothing that could be taken; then it names the shapes it saw.
        """
        try:
            for event in self._stream.finish():
                self._take(event)
        except MalformedJson:
            raise InvalidInput("body", "is not valid JSON.") from None
        self._end_root()
        if not any(each.messages for each in self._found):
            if self._errors:
                raise InvalidInput(*self._errors[0], *self._errors[1:])
            raise InvalidInput(self._list or "body", f"brought no message that could be taken: {self._seen()}.")
        return self._found, self._errors

    def _take(self, event: Event) -> None:
        path, value = event
        if path in ((), ("conversations",)):
            if not isinstance(value, Closed):
                raise InvalidInput("conversations", f"must be a list of conversations; this is {_kind(value)}.")
            if path or not value.is_object:
                self._list = "conversations" if path else ""
        elif path[0] == "conversations" or isinstance(path[0], int):
            self._list = "" if isinstance(path[0], int) else "conversations"
            depth = 1 if isinstance(path[0], int) else 2
            self._take_of_list(path[depth:], value, f"{self._list}[{path[depth - 1]}]")
        else:
            self._take_of_draft(self._root, path, value)

    def _take_of_list(self, rest: Path, value: bytes | Closed | None, at: str) -> None:
        if self._draft is None:
            self._conversations += 1
            if self._conversations > MAX_MESSAGES:
                raise InvalidInput(
                    self._list or "body", f"has more than {MAX_MESSAGES} conversations, the most a call."
                )
            self._draft = _Draft(at)
        if rest:
            self._take_of_draft(self._draft, rest, value)
            return
        if not isinstance(value, Closed):
            self._draft.fault = ImportFault("", "must be a conversation.")
        self._end(self._draft)
        self._draft = None

    def _take_of_draft(self, draft: _Draft, rest: Path, value: bytes | Closed | None) -> None:
        if isinstance(value, Closed):
            draft.shape = draft.shape or (OWN if rest == _MESSAGES else SHAPES.get(rest, ""))
        elif rest[:-1] in SHAPES:
            self._take_message(draft, rest, value)
        elif rest in SHAPES:
            draft.shape = draft.shape or ("" if rest == _MESSAGES else SHAPES[rest])
            if rest == _MESSAGES:
                draft.fault = ImportFault(".messages", "must be a list of messages.")
        elif len(draft.head) < MAX_FIELDS and (len(rest) == 1 or rest == ("chat", "history", "currentId")):
            draft.head[str(rest[-1])] = None if value is None else decode(value)

    def _take_message(self, draft: _Draft, rest: Path, raw: bytes | None) -> None:
        place, container = rest[-1], rest[:-1]
        try:
            value = _value_of(raw)
            if container == _MESSAGES and not is_node_of_list(value):
                self._count_message()
                draft.shape = OWN
                draft.own.append(read_message(value, int(place), self._now, self._spool.write))
                return
        except ImportFault as wrong:
            where = f"{draft.path}.{_path(container, place)}{wrong.where}".lstrip(".")
            draft.errors.append(FieldError(where, wrong.why))
            return
        draft.shape = SHAPES[container]
        for node in nodes_of(value, place, draft.nodes[-1].id if draft.nodes else None):
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise InvalidInput(self._list or "body", f"holds more than {MAX_NODES:,} nodes, the most a call.")
            for _ in node.texts:
                self._count_message()
            texts = tuple(map(self._spool.write, node.texts))
            draft.nodes.append(Node(node.id, node.parent, node.role, node.said_at, texts))

    def _count_message(self) -> None:
        self._messages += 1
        if self._messages > MAX_MESSAGES:
            raise InvalidInput(self._list or "body", f"holds more than {MAX_MESSAGES} messages, the most a call.")

    def _end(self, draft: _Draft) -> None:
        shape = draft.shape or f"an object with {_names(draft.head)}"
        self._shapes[shape] = self._shapes.get(shape, 0) + 1
        try:
            self._found.append(self._conversation_of(draft))
            self._errors += draft.errors
        except ImportFault as wrong:
            self._errors.append(FieldError(f"{draft.path}{wrong.where}".lstrip("."), wrong.why))

    def _conversation_of(self, draft: _Draft) -> ImportedConversation:
        if draft.fault is not None:
            raise draft.fault
        if not draft.shape:
            raise ImportFault(".messages", f"must be a list of messages; this has {_names(draft.head)}.")
        if draft.shape == OWN:
            return own_conversation(draft.head, draft.own, draft.path, draft.errors, self._now)
        return exported_conversation(place_nodes(draft.nodes, draft.head))

    def _end_root(self) -> None:
        """What stands beside the list, or a single conversation that is the whole body."""
        if self._list == "conversations":
            if others := set(self._root.head) - set(Import.__struct_fields__):
                raise InvalidInput(min(others), "is not a field here.")
        elif self._list is None and self._root.shape:
            self._end(self._root)
        elif self._list is None:
            seen = f"an object with {_names(self._root.head)}"
            raise InvalidInput("conversations", f"must be a list of conversations; this is {seen}.")

    def _seen(self) -> str:
        if not self._shapes:
            return "it holds no conversation"
        counted = [f"{count:,} in the form of {shape}" for shape, count in self._shapes.items()]
        return f"it holds {', '.join(counted)}, without a text of a user or an assistant"


def _is_stepped_into(path: Path, opener: bytes) -> bool:
    if not path:
        return True
    if path == ("conversations",):
        return opener == b"["
    depth = 1 if isinstance(path[0], int) else 2 if path[0] == "conversations" else 0
    rest = path[depth:]
    if not rest:
        return opener == b"{"
    return rest in (_STEPS if opener == b"{" else _LISTS)


def _value_of(raw: bytes | None) -> Any:
    if raw is None:
        raise ImportFault("", f"is larger than {MAX_VALUE:,} bytes.")
    try:
        raw.decode()
        return decode(raw)
    except UnicodeDecodeError as error:
        raise ImportFault("", f"is not valid UTF-8 (byte {error.start}).") from None
    except MalformedJson:
        raise ImportFault("", "is not valid JSON.") from None


def _path(container: Path, place: str | int) -> str:
    return ".".join(map(str, container)) + (f"[{place}]" if isinstance(place, int) else f".{place[:80]}")


def _names(head: Sequence[str] | dict[str, Any]) -> str:
    names = sorted(head)
    shown = ", ".join(name[:40] for name in names[:8]) + (", …" if len(names) > 8 else "")
    return f"the fields {shown}" if names else "no fields"


def _kind(raw: bytes | Closed | None) -> str:
    found = decode(raw) if isinstance(raw, bytes) else ""
    return {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "a boolean"}.get(
        type(found), "a number"
    )
