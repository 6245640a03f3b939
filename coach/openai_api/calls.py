"""What a body under ``/v1`` asks for: read, checked, and brought within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from coach.errors import InvalidInput
from coach.http.bodies import read
from coach.models.base import ModelOptions
from coach.openai_api.errors import Unsupported
from coach.openai_api.messages import CallMessages, Message, read_call_messages
from coach.openai_api.models import feature_of
from coach.openai_api.schemas import (
    INPUT,
    MOST_STOPS,
    MOST_TOKENS,
    CommonBody,
    CompletionBody,
    ConversationName,
    ResponseBody,
)
from coach.values.ids import valid_id

MOST_METADATA = 16_384
Number = TypeVar("Number", int, float)


class Call(Struct, frozen=True, kw_only=True):
    """One call. ``model`` is echoed; ``feature`` None is a UI task."""

    model: str
    feature: str | None
    said: CallMessages
    options: ModelOptions
    is_streamed: bool
    has_usage_chunk: bool = False
    conversation_id: str | None = None


class ResponseCall(Call, frozen=True, kw_only=True):
    """``recalled`` names a conversation whose stored messages come first; ``previous`` a response that does so."""

    instructions: str | None = None
    previous: str | None = None
    recalled: str | None = None
    is_stored: bool = True
    metadata: dict[str, Any] = {}


NO_TOOLS = "tools are not called here; leave it out."
NO_PROBABILITIES = "probabilities of tokens are not known here; leave it out."
TEXT_ONLY = "answers are text; leave it out."


def completion_call(body: CompletionBody) -> Call:
    """What a chat completion's body asks for.

    :raises InvalidInput: names the parameter.
    :raises NotFound: there is no such model.
    """
    feature = feature_of(body.model)
    _refuse(
        *_common(body),
        ("n", body.n not in (None, 1), "one answer is given; leave it out, or set it to 1."),
        ("logprobs", bool(body.logprobs), NO_PROBABILITIES),
        ("audio", bool(body.audio), TEXT_ONLY),
        ("modalities", body.modalities not in (None, [], ["text"]), TEXT_ONLY),
        ("functions", bool(body.functions), NO_TOOLS),
        ("function_call", body.function_call not in (None, "none", "auto"), NO_TOOLS),
        ("response_format", not _is_text(body.response_format), 'only {"type": "text"} is given.'),
    )
    said = read_call_messages(body.messages, "messages")
    return Call(
        model=body.model,
        feature=None if said.is_ui_task else feature,
        said=said,
        options=ModelOptions(
            temperature=_within(body.temperature, 0.0, 2.0),
            top_p=_within(body.top_p, 0.0, 1.0),
            max_tokens=_length(body.max_completion_tokens, body.max_tokens),
            stop=_stops(body.stop),
            seed=_within(body.seed, -(2**63), 2**63 - 1),
        ),
        is_streamed=bool(body.stream),
        has_usage_chunk=bool(body.stream_options and body.stream_options.include_usage),
        conversation_id=_named(body.metadata),
    )


def response_call(body: ResponseBody, messages: list[Message], answers: Mapping[str, str]) -> ResponseCall:
    """What the body of a response asks for. ``messages`` are its input's, ``answers`` those they refer to.

    :raises InvalidInput: names the parameter.
    :raises NotFound: there is no such model, or no such answer.
    """
    feature = feature_of(body.model)
    include = body.include if isinstance(body.include, list) else []
    _refuse(
        *_common(body),
        ("include", any("logprobs" in str(each) for each in include), NO_PROBABILITIES),
        ("background", bool(body.background), "answers are given at once; leave it out."),
        ("prompt", bool(body.prompt), "no prompts are kept here; send instructions instead."),
        ("text.format", not _is_text(body.text.format if body.text else None), 'only {"type": "text"} is given.'),
    )
    if body.previous_response_id and body.conversation:
        raise InvalidInput("previous_response_id", "either it or conversation says what went before, not both.")
    said = _said(body, messages, answers)
    conversation = body.conversation.id if isinstance(body.conversation, ConversationName) else body.conversation
    return ResponseCall(
        model=body.model,
        feature=None if said.is_ui_task and not (body.previous_response_id or conversation) else feature,
        said=said,
        options=ModelOptions(
            temperature=_within(body.temperature, 0.0, 2.0),
            top_p=_within(body.top_p, 0.0, 1.0),
            max_tokens=_length(body.max_output_tokens),
        ),
        is_streamed=bool(body.stream),
        conversation_id=_named(body.metadata),
        instructions=body.instructions,
        previous=body.previous_response_id,
        recalled=conversation,
        is_stored=body.store is not False,
        metadata=_kept(body.metadata),
    )


def _length(*wishes: int | None) -> int | None:
    """The first that is one: clients write -1 or 0 where they want no limit."""
    return next((min(wish, MOST_TOKENS) for wish in wishes if wish is not None and wish > 0), None)


def input_messages(body: ResponseBody) -> list[Message]:
    """The input as messages: a text is one.

    :raises InvalidInput: it is missing, or of another shape.
    """
    given: str | list[Message] | None = read(bytes(body.input), INPUT, "input")
    if given is None:
        raise InvalidInput("input", "is required.")
    return [Message("user", Raw(msgspec.json.encode(given)))] if isinstance(given, str) else given


def _said(body: ResponseBody, messages: list[Message], answers: Mapping[str, str]) -> CallMessages:
    said = read_call_messages(messages, "input", answers)
    if body.instructions is None or not body.instructions.strip():
        return said
    if "\0" in body.instructions:
        raise InvalidInput("instructions", "must not contain a NUL character.")
    return msgspec.structs.replace(said, notes=(body.instructions, *said.notes))


def _common(body: CommonBody) -> tuple[tuple[str, bool, str], ...]:
    return (
        ("tools", bool(body.tools), NO_TOOLS),
        ("tool_choice", body.tool_choice not in (None, "none", "auto"), NO_TOOLS),
        ("top_logprobs", bool(body.top_logprobs), NO_PROBABILITIES),
    )


def _refuse(*checks: tuple[str, bool, str]) -> None:
    for name, is_wrong, why in checks:
        if is_wrong:
            raise Unsupported(name, why)


def _is_text(form: Any) -> bool:
    return form is None or (isinstance(form, dict) and form.get("type", "text") == "text")


def _within(value: Number | None, least: Number, most: Number) -> Number | None:
    return None if value is None else max(least, min(most, value))


def _stops(given: str | list[str] | None) -> tuple[str, ...]:
    stops = tuple(stop for stop in ([given] if isinstance(given, str) else given or ()) if stop)
    if len(stops) > MOST_STOPS:
        raise InvalidInput("stop", f"at most {MOST_STOPS} sequences are looked for.")
    return stops


def _kept(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """It is stored with the response, and PostgreSQL stores no NUL."""
    written = msgspec.json.encode(metadata or {})
    if len(written) > MOST_METADATA:
        raise InvalidInput("metadata", f"has {len(written):,} bytes; at most {MOST_METADATA:,} are kept.")
    if b"\\u0000" in written:
        raise InvalidInput("metadata", "must not contain a NUL character.")
    return metadata or {}


def _named(metadata: dict[str, Any] | None) -> str | None:
    named = (metadata or {}).get("conversation_id")
    return None if named is None else valid_id(named, "metadata.conversation_id")
