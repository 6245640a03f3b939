"""A turn read to its end: the answer as one JSON object, for callers that do not want a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, cast

from msgspec import Struct, field
from msgspec.structs import asdict

from coach.chat import parts
from coach.chat.encoders import Reader, ended_properly, usage
from coach.chat.events import Event, Failed, Finished, Interrupted, Quota, ReasoningDelta, Started, TextDelta
from coach.chat.parts import Part
from coach.retrieval.base import Receipt


class AnswerMessage(Struct):
    """A UIMessage: the parts and the text, and in ``metadata`` what the stream tells beside them."""

    id: str = ""
    role: Literal["assistant"] = "assistant"
    parts: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


class FinishedTurn(TypedDict):
    """What ``POST /api/chat`` answers to ``Accept: application/json``, with a field for each kind of part."""

    conversation_id: str
    message: AnswerMessage
    sources: list[dict[str, Any]]
    context: Receipt | None
    quota: Quota | None
    usage: dict[str, int] | None
    interaction_id: str | None


async def collect(reader: Reader) -> FinishedTurn | Failed:
    """Read a turn to its end; an interrupted one is an answer too, and says so in the message's metadata."""
    events = [event async for batch in ended_properly(reader) for event in batch]
    return last if isinstance(last := events[-1], Failed) else finished_turn(events)


def finished_turn(events: Sequence[Event]) -> FinishedTurn:
    """What the events of a turn say, as one object."""
    message = AnswerMessage()
    told = [event for event in events if isinstance(event, Part)]
    turn: dict[str, Any] = {"conversation_id": "", "message": message, "usage": None, "interaction_id": None}
    for event in events:
        match event:
            case Started():
                started = asdict(event)
                message.id = started.pop("message_id")
                turn |= {name: started.pop(name) for name in ("conversation_id", "interaction_id")}
                message.metadata |= started
            case Finished():
                turn["usage"] = usage(event.usage)
                message.metadata |= {
                    "status": "complete",
                    "finish_reason": event.reason,
                    "first_token_ms": event.first_token_ms,
                    "processing_time_ms": event.processing_time_ms,
                }
            case Interrupted():
                message.metadata["status"] = "interrupted"
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    thoughts = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    message.parts = [part.shown() for part in told if part.stored_as is not None]
    message.parts += [{"type": "reasoning", "text": thoughts, "state": "done"}] if thoughts else []
    message.parts.append({"type": "text", "text": text, "state": "done"})
    return cast(FinishedTurn, turn | parts.answer(told))
