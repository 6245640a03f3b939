"""The frames of ``/ws/chat``: those of the AI SDK's ``WebSocketChatTransport`` (``ai`` 7), and pushes beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import msgspec
from msgspec import Struct

from coach.chat.encoders import UIMessageParts
from coach.chat.events import Event, ReasoningDelta, TextDelta
from coach.chat.schemas import ChatBody, ChatMessage, ChatRequest, Trigger, requested
from coach.errors import InvalidInput
from coach.http.bodies import read
from coach.stages.stages import SessionCommand, read_command

PUSH = "$push"
"""The request id of pushes; stock clients ignore it."""

MAX_REQUEST_ID = 128
MAX_CHUNK_CHARACTERS = 16_384
"""Characters of one chunk of text."""

_encode = msgspec.json.Encoder().encode


class Extras(Struct):
    """What a client adds to a request. ``command_of`` reads ``session``."""

    feature: str | None = None
    model: str | None = None
    incognito: bool | None = None
    session: Any = None


class _Request(Struct, kw_only=True, tag_field="type"):
    """What begins something. ``headers`` are those that a browser cannot send with a socket."""

    requestId: str  # noqa: N815 - the protocol's name
    headers: dict[str, Any] | None = None

    def header(self, wanted: str) -> str | None:
        found = next((value for name, value in (self.headers or {}).items() if name.lower() == wanted), None)
        return found if isinstance(found, str) else None


class SendFrame(_Request, kw_only=True, tag="send"):
    """Ask. The same as a ``POST /api/chat``."""

    messages: list[ChatMessage]
    id: str | None = None
    trigger: Trigger = "submit-message"
    messageId: str | None = None  # noqa: N815 - the protocol's name
    body: Extras | None = None


class ResumeFrame(_Request, kw_only=True, tag="resume"):
    """Read the running turn of a conversation from its first part."""

    id: str


class AbortFrame(Struct, tag_field="type", tag="abort"):
    """Stop telling; the turn itself goes on."""

    requestId: str  # noqa: N815 - the protocol's name


Frame = SendFrame | ResumeFrame | AbortFrame


class _Named(Struct):
    requestId: str  # noqa: N815 - the protocol's name


_named = msgspec.json.Decoder(_Named)


def read_frame(data: bytes) -> Frame:
    """What a client sent.

    :raises InvalidInput: names the JSON path of the first thing that is not as documented.
    """
    frame: Frame = read(data, Frame)
    if not 1 <= len(frame.requestId) <= MAX_REQUEST_ID or frame.requestId == PUSH:
        raise InvalidInput("requestId", f'must have 1 to {MAX_REQUEST_ID} characters and not be "{PUSH}".')
    return frame


def request_id_of(data: bytes) -> str:
    """The request id for the error of a malformed frame: its own if that can be read, else ``$push``."""
    try:
        named = _named.decode(data).requestId
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return PUSH
    return named if 1 <= len(named) <= MAX_REQUEST_ID else PUSH


def asked(frame: SendFrame) -> ChatRequest:
    """The chat request that a frame is.

    :raises InvalidInput: as for ``POST /api/chat``.
    """
    extras = frame.body or Extras()
    body = ChatBody(
        frame.messages, frame.id, frame.trigger, frame.messageId, extras.feature, extras.model, extras.incognito
    )
    return requested(body, frame.header("idempotency-key"))


def command_of(frame: SendFrame) -> SessionCommand | None:
    """What the frame tells a coaching session to do.

    :raises InvalidInput: as for ``POST /api/chat``.
    """
    return None if frame.body is None else read_command(frame.body.session, "body.session")


class Reply:
    """The frames of one request, numbered as they come."""

    def __init__(self, request_id: str) -> None:
        self._name = _encode(request_id)
        self._parts = UIMessageParts()
        self._sequence = 0

    def start(self) -> bytes:
        return self._plain(b"start")

    def end(self) -> bytes:
        return self._plain(b"end")

    def no_active(self) -> bytes:
        return self._plain(b"no-active")

    def error(self, problem: bytes) -> bytes:
        """A refusal, before anything has begun: the problem as text."""
        return b'{"type":"error","requestId":%b,"errorText":%b}' % (self._name, _encode(problem.decode()))

    def chunks(self, batch: Sequence[Event]) -> Iterable[bytes]:
        for event in merged(batch):
            for part in self._parts.encode(event):
                yield b'{"type":"chunk","requestId":%b,"sequence":%d,"chunk":%b}' % (self._name, self._sequence, part)
                self._sequence += 1

    def _plain(self, kind: bytes) -> bytes:
        return b'{"type":"%b","requestId":%b}' % (kind, self._name)


def merged(batch: Sequence[Event]) -> Iterable[Event]:
    """Pieces of text or reasoning that wait together, as one: a frame costs more than the word in it.

    Up to ``MAX_CHUNK_CHARACTERS``: a frame is written as a whole, however little of it the reader takes.
    """
    for kind, alike in groupby(batch, type):
        if kind is TextDelta or kind is ReasoningDelta:
            whole = "".join(delta.text for delta in cast(Iterable[TextDelta | ReasoningDelta], alike))
            for start in range(0, len(whole), MAX_CHUNK_CHARACTERS):
                yield kind(whole[start : start + MAX_CHUNK_CHARACTERS])
        else:
            yield from alike


def push_frame(frame: Mapping[str, Any]) -> bytes:
    """A push as it travels: ``{"type": …}`` and what belongs to it."""
    return _encode({**frame, "requestId": PUSH})


PING = push_frame({"type": "ping"})
