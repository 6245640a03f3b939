"""The response object of ``/v1/responses``: what a turn looks like there, running or ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from coach.chat.events import Event, Failed, Finished, Interrupted, Started, Terminal, TextDelta
from coach.models.base import Usage

Json = dict[str, Any]

RESPONSE, MESSAGE = "resp_", "msg_"


class Facts(Struct, frozen=True, kw_only=True):
    """What the caller said about a response; kept beside the answer, since ``GET`` tells it again."""

    model: str
    created_at: int
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    store: bool = True
    metadata: Json = {}


def response_id(message_id: str) -> str:
    return RESPONSE + message_id.removeprefix(MESSAGE)


def message_id(response_id: str) -> str | None:
    """The answer behind a response; None where it can be none."""
    return MESSAGE + response_id.removeprefix(RESPONSE) if response_id.startswith(RESPONSE) else None


def response_object(facts: Facts, answer: str, text: str, ending: Terminal | None, *, has_output: bool) -> Json:
    """``answer`` is the message's id; ``ending`` None while the turn runs."""
    status = status_of(ending)
    return {
        "id": response_id(answer),
        "object": "response",
        "created_at": facts.created_at,
        "status": status,
        "background": False,
        "error": _error(ending),
        "incomplete_details": _incomplete(ending),
        "instructions": facts.instructions,
        "max_output_tokens": facts.max_output_tokens,
        "max_tool_calls": None,
        "model": facts.model,
        "output": [item(answer, text, "completed" if status == "completed" else "incomplete")] if has_output else [],
        "parallel_tool_calls": True,
        "previous_response_id": facts.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": facts.store,
        "temperature": 1.0 if facts.temperature is None else facts.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0 if facts.top_p is None else facts.top_p,
        "truncation": "auto",
        "usage": _usage(ending.usage) if isinstance(ending, Finished) else None,
        "user": None,
        "metadata": facts.metadata,
        "conversation": {"id": facts.conversation} if facts.conversation else None,
    }


def item(answer: str, text: str | None, status: str) -> Json:
    """The one output item. ``text`` None: its content has not begun."""
    content = [] if text is None else [part(text)]
    return {"id": answer, "type": "message", "status": status, "role": "assistant", "content": content}


def part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def status_of(ending: Terminal | None) -> str:
    match ending:
        case None:
            return "in_progress"
        case Failed():
            return "failed"
        case Interrupted() | Finished(reason="length" | "content-filter"):
            return "incomplete"
        case Finished():
            return "completed"


def snapshot_response(facts: Facts, events: Sequence[Event]) -> Json:
    """The object of a turn told by ``events``."""
    answer = next((event.message_id for event in events if isinstance(event, Started)), MESSAGE)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    ending = next((event for event in events if isinstance(event, Finished | Interrupted | Failed)), None)
    return response_object(facts, answer, text, ending, has_output=bool(text) and ending is not None)


def _error(ending: Terminal | None) -> Json | None:
    return {"code": "server_error", "message": ending.detail} if isinstance(ending, Failed) else None


def _incomplete(ending: Terminal | None) -> Json | None:
    match ending:
        case Finished(reason="length"):
            return {"reason": "max_output_tokens"}
        case Finished(reason="content-filter"):
            return {"reason": "content_filter"}
        case Interrupted():
            return {"reason": "interrupted"}
        case _:
            return None


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
