"""A turn read to its end: the answer as one JSON object, for callers that do not want a stream."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, cast

from msgspec import Struct, field

from coach.chat import parts
from coach.chat.encoders import Reader, ended_properly, usage
from coach.chat.events import Failed, Finished, Interrupted, Quota, Started, TextDelta
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
    turn: dict[str, Any] = {"conversation_id": "", "message": AnswerMessage(), "usage": None, "interaction_id": None}
    text, told = list[str](), list[Part]()
    async for batch in ended_properly(reader):
        for event in batch:
            match event:
                case Failed():
                    return event
                case TextDelta():
                    text.append(event.text)
                case Part():
                    told.append(event)
                case Started() | Finished() | Interrupted():
                    _add(turn, event)
    shown = [part.shown() for part in told if part.stored_as is not None]
    turn["message"].parts = [*shown, {"type": "text", "text": "".join(text), "state": "done"}]
    return cast(FinishedTurn, turn | parts.answer(told))


def _add(turn: dict[str, Any], event: Started | Finished | Interrupted) -> None:
    message: AnswerMessage = turn["message"]
    match event:
        case Started():
            turn |= {"conversation_id": event.conversation_id, "interaction_id": event.interaction_id}
            message.id = event.message_id
            message.metadata |= {
                "user_message_id": event.user_message_id,
                "model": event.model,
                "prompt": event.prompt,
            }
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
