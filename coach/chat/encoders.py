"""A turn's events as a client reads them: parts of the UI message stream v1, or one JSON object.

The state machine is here and nowhere else: text and reasoning are opened before their first delta and closed before any
end, and every stream ends in exactly one of ``finish``, ``abort`` and ``error``, whatever the turn did.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from traceback import format_tb
from typing import Any

import msgspec
import structlog

from coach.chat.events import Event, Failed, Finished, Interrupted, ReasoningDelta, Started, TextDelta
from coach.chat.parts import Part
from coach.errors import CoachError
from coach.models.base import Usage

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
SSE_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "x-vercel-ai-ui-message-stream": "v1",
}

log = structlog.get_logger(__name__)
_json = msgspec.json.Encoder().encode
_TEXT = "text"
_DELTA = b'{"type":"text-delta","id":"text","delta":'

Reader = AsyncIterable[Sequence[Event]]


class UIMessageParts:
    """Events to parts, each one JSON object in bytes. One encoder a reader: it remembers what is open."""

    def __init__(self) -> None:
        self._open = False
        self._thoughts, self._is_thinking = 0, False
        self.ended = False

    def encode(self, event: Event) -> list[bytes]:
        """The parts of one event; nothing after a terminal one."""
        if self.ended:
            return []
        if isinstance(event, TextDelta):
            delta = _DELTA + _json(event.text) + b"}"
            if self._open and not self._is_thinking:
                return [delta]
            return [*self._close_reasoning(), *self._open_text(), delta]
        if isinstance(event, ReasoningDelta):
            return [*self._open_reasoning(), self._reasoning("delta", delta=event.text)]
        if isinstance(event, Finished | Interrupted | Failed):
            self.ended = True
            return [*self._close_reasoning(), *self._close_text(), *(_json(part) for part in _ending(event))]
        return [_json(event.shown() if isinstance(event, Part) else _start(event))]

    def _open_text(self) -> list[bytes]:
        if self._open:
            return []
        self._open = True
        return [_json({"type": "text-start", "id": _TEXT})]

    def _open_reasoning(self) -> list[bytes]:
        """A model may think again after its first words: then it is another part, for an ended one takes no more."""
        if self._is_thinking:
            return []
        self._thoughts, self._is_thinking = self._thoughts + 1, True
        return [self._reasoning("start")]

    def _close_reasoning(self) -> list[bytes]:
        if not self._is_thinking:
            return []
        self._is_thinking = False
        return [self._reasoning("end")]

    def _reasoning(self, what: str, **more: str) -> bytes:
        return _json({"type": f"reasoning-{what}", "id": f"reasoning-{self._thoughts}", **more})

    def _close_text(self) -> list[bytes]:
        if not self._open:
            return []
        self._open = False
        return [_json({"type": "text-end", "id": _TEXT})]


def _start(started: Started) -> dict[str, Any]:
    metadata = msgspec.structs.asdict(started)
    return {"type": "start", "messageId": metadata.pop("message_id"), "messageMetadata": metadata}


def _ending(event: Finished | Interrupted | Failed) -> list[dict[str, Any]]:
    match event:
        case Finished():
            metadata = {
                "usage": usage(event.usage),
                "first_token_ms": event.first_token_ms,
                "processing_time_ms": event.processing_time_ms,
            }
            return [{"type": "finish", "finishReason": event.reason, "messageMetadata": metadata}]
        case Interrupted():
            return [{"type": "message-metadata", "messageMetadata": {"status": "interrupted"}}, {"type": "abort"}]
        case Failed():
            problem = {"type": f"/problems/{event.slug}", "detail": event.detail}
            return [
                {"type": "message-metadata", "messageMetadata": {"status": "failed", "problem": problem}},
                {"type": "error", "errorText": event.detail},
            ]


def usage(tokens: Usage) -> dict[str, int]:
    return {
        "input_tokens": tokens.input_tokens,
        "output_tokens": tokens.output_tokens,
        "total_tokens": tokens.total_tokens,
    }


async def sse(reader: Reader) -> AsyncGenerator[bytes, None]:
    """The stream of ``POST /api/chat``, one write a batch. A reader that closes this only detaches from the turn."""
    parts = UIMessageParts()
    async with aclosing(ended_properly(reader)) as batches:
        async for batch in batches:
            yield encode_batch(parts, batch) if batch else PING
    yield DONE


def encode_batch(parts: UIMessageParts, batch: Sequence[Event]) -> bytes:
    """Events as lines of the stream."""
    return b"".join([b"data: " + part + b"\n\n" for event in batch for part in parts.encode(event)])


async def ended_properly(reader: Reader) -> AsyncGenerator[Sequence[Event], None]:
    """The reader's batches, and a failure where it breaks or stops without having ended."""
    try:
        async for batch in reader:
            yield batch
            if batch and isinstance(batch[-1], Finished | Interrupted | Failed):
                return
        failure = Failed("internal-error", "The answer ended without a result.")
    except CoachError as error:
        failure = Failed(error.slug, str(error))
    except Exception as error:  # noqa: BLE001 - the headers are out: whatever broke, the client is told in the stream
        # Without the message: a database error may quote the row, and logs hold no content.
        log.error("reader_failed", error=type(error).__name__, frames=format_tb(error.__traceback__))  # noqa: TRY400
        failure = Failed("internal-error", "Something went wrong here; it has been noted.")
    yield [failure]
