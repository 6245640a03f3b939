"""A turn read to its end: the answer as one JSON object, for callers that do not want a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from coach.chat.encoders import Reader, ended_properly, source_document, usage
from coach.chat.events import (
    ContextRead,
    Event,
    Failed,
    Finished,
    Interrupted,
    QuotaTold,
    SourceFound,
    Started,
    TextDelta,
)
from coach.retrieval.base import Receipt


class Message(Struct):
    """A UIMessage: the sources and the text as parts, and in ``metadata`` what the stream tells beside them."""

    id: str = ""
    role: Literal["assistant"] = "assistant"
    parts: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


class Quota(Struct):
    """The month's quota. ``warning`` is the highest threshold passed: 80, 95 or 100 (percent)."""

    limit: int
    used: int
    remaining: int
    resets_at: datetime
    warning: int | None = None


class FinishedTurn(Struct):
    """What ``POST /api/chat`` answers to ``Accept: application/json``."""

    conversation_id: str = ""
    message: Message = field(default_factory=Message)
    sources: list[dict[str, Any]] = field(default_factory=list)
    context: Receipt | None = None
    quota: Quota | None = None
    usage: dict[str, int] | None = None
    interaction_id: str | None = None


async def collect(reader: Reader) -> FinishedTurn | Failed:
    """Read a turn to its end; an interrupted one is an answer too, and says so in the message's metadata."""
    turn, text = FinishedTurn(), list[str]()
    async for batch in ended_properly(reader):
        for event in batch:
            if isinstance(event, Failed):
                return event
            if isinstance(event, TextDelta):
                text.append(event.text)
            else:
                _add(turn, event)
    turn.message.parts = [*turn.sources, {"type": "text", "text": "".join(text), "state": "done"}]
    return turn


def _add(turn: FinishedTurn, event: Event) -> None:
    metadata = turn.message.metadata
    match event:
        case Started():
            turn.conversation_id, turn.interaction_id = event.conversation_id, event.interaction_id
            turn.message.id = event.message_id
            metadata |= {"user_message_id": event.user_message_id, "model": event.model, "prompt": event.prompt}
        case QuotaTold():
            turn.quota = Quota(event.limit, event.used, event.remaining, event.resets_at, event.warning)
        case ContextRead():
            turn.context = event.receipt
        case SourceFound():
            turn.sources.append(source_document(event.source))
        case Finished():
            turn.usage = usage(event.usage)
            metadata |= {
                "status": "complete",
                "finish_reason": event.reason,
                "first_token_ms": event.first_token_ms,
                "processing_time_ms": event.processing_time_ms,
            }
        case Interrupted():
            metadata["status"] = "interrupted"
