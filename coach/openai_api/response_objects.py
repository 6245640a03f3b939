"""The response object of ``/v1/responses``: what a turn looks like there, running or ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct, field

from coach.chat.events import Event, Failed, Finished, Interrupted, Started, Terminal, TextDelta
from coach.models.base import Usage

RESPONSE, MESSAGE = "resp_", "msg_"
Status = Literal["in_progress", "completed", "incomplete", "failed"]


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
    metadata: dict[str, Any] = {}


class OutputText(Struct, frozen=True):
    text: str
    type: Literal["output_text"] = "output_text"
    annotations: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()


class OutputMessage(Struct, frozen=True):
    """The one output item. Its content is empty until it has begun."""

    id: str
    status: Status
    content: tuple[OutputText, ...] = ()
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"


class ErrorOfResponse(Struct, frozen=True):
    message: str
    code: Literal["server_error"] = "server_error"


class Incomplete(Struct, frozen=True):
    reason: Literal["max_output_tokens", "content_filter", "interrupted"]


class CachedTokens(Struct, frozen=True):
    cached_tokens: int = 0


class ReasoningTokens(Struct, frozen=True):
    reasoning_tokens: int = 0


class ResponseTokens(Struct, frozen=True):
    """``usage`` of a response."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens_details: ReasoningTokens = ReasoningTokens()


class Reasoning(Struct, frozen=True):
    effort: None = None
    summary: None = None


class TextFormat(Struct, frozen=True):
    type: Literal["text"] = "text"


class TextSettings(Struct, frozen=True):
    format: TextFormat = TextFormat()


class ConversationReference(Struct, frozen=True):
    id: str


class ResponseObject(Struct, frozen=True, kw_only=True):
    """``response``: one answer, or as much of it as there is. ``usage`` is null until it is finished."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    background: Literal[False] = False
    error: ErrorOfResponse | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: tuple[OutputMessage, ...] = ()
    parallel_tool_calls: Literal[True] = True
    previous_response_id: str | None
    reasoning: Reasoning = Reasoning()
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float
    text: TextSettings = TextSettings()
    tool_choice: Literal["auto"] = "auto"
    tools: tuple[Any, ...] = ()
    top_logprobs: Literal[0] = 0
    top_p: float
    truncation: Literal["auto"] = "auto"
    usage: ResponseTokens | None = None
    user: None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    conversation: ConversationReference | None = None


def response_id(message_id: str) -> str:
    return RESPONSE + message_id.removeprefix(MESSAGE)


def message_id(response_id: str) -> str | None:
    """The answer behind a response; None where it can be none."""
    return MESSAGE + response_id.removeprefix(RESPONSE) if response_id.startswith(RESPONSE) else None


def response_object(
    facts: Facts, answer: str, text: str, ending: Terminal | None, *, has_output: bool
) -> ResponseObject:
    """``answer`` is the message's id; ``ending`` None while the turn runs."""
    status = status_of(ending)
    item = OutputMessage(answer, "completed" if status == "completed" else "incomplete", (OutputText(text),))
    return ResponseObject(
        id=response_id(answer),
        created_at=facts.created_at,
        status=status,
        error=ErrorOfResponse(ending.detail) if isinstance(ending, Failed) else None,
        incomplete_details=_incomplete(ending),
        instructions=facts.instructions,
        max_output_tokens=facts.max_output_tokens,
        model=facts.model,
        output=(item,) if has_output else (),
        previous_response_id=facts.previous_response_id,
        store=facts.store,
        temperature=1.0 if facts.temperature is None else facts.temperature,
        top_p=1.0 if facts.top_p is None else facts.top_p,
        usage=_usage(ending.usage) if isinstance(ending, Finished) else None,
        metadata=facts.metadata,
        conversation=ConversationReference(facts.conversation) if facts.conversation else None,
    )


def status_of(ending: Terminal | None) -> Status:
    match ending:
        case None:
            return "in_progress"
        case Failed():
            return "failed"
        case Interrupted() | Finished(reason="length" | "content-filter"):
            return "incomplete"
        case Finished():
            return "completed"


def snapshot_response(facts: Facts, events: Sequence[Event]) -> ResponseObject:
    """The object of a turn told by ``events``."""
    answer = next((event.message_id for event in events if isinstance(event, Started)), MESSAGE)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    ending = next((event for event in events if isinstance(event, Finished | Interrupted | Failed)), None)
    return response_object(facts, answer, text, ending, has_output=bool(text) and ending is not None)


def _incomplete(ending: Terminal | None) -> Incomplete | None:
    match ending:
        case Finished(reason="length"):
            return Incomplete("max_output_tokens")
        case Finished(reason="content-filter"):
            return Incomplete("content_filter")
        case Interrupted():
            return Incomplete("interrupted")
        case _:
            return None


def _usage(usage: Usage) -> ResponseTokens:
    return ResponseTokens(usage.input_tokens, usage.output_tokens, usage.total_tokens)
