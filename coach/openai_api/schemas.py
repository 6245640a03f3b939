"""What ``POST /v1/chat/completions`` and ``POST /v1/responses`` take. Fields that are not named are ignored."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from coach.chat.schemas import decode
from coach.errors import InvalidInput
from coach.models.base import ModelOptions
from coach.openai_api.errors import Unsupported
from coach.openai_api.messages import Message, Said, understand
from coach.openai_api.models import feature_of
from coach.values.ids import valid_id

MOST_TOKENS = 8_192
MOST_STOPS = 4
MOST_METADATA = 16_384
Number = TypeVar("Number", int, float)


class Call(Struct, frozen=True, kw_only=True):
    """One call. ``model`` is echoed; ``feature`` None is a UI task."""

    model: str
    feature: str | None
    said: Said
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


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Common(Struct, kw_only=True):
    """What both have. Of the values typed ``Any`` only their presence matters."""

    model: str
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    metadata: dict[str, Any] | None = None
    tools: Any = None
    tool_choice: Any = None
    top_logprobs: Any = None


class _Completion(_Common, kw_only=True):
    messages: list[Message]
    stream_options: _StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: Any = None
    logprobs: Any = None
    audio: Any = None
    modalities: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None


class _Conversation(Struct):
    id: str


class _Text(Struct):
    format: Any = None


class _Response(_Common, kw_only=True):
    input: Raw = field(default_factory=lambda: Raw(b"null"))
    instructions: str | None = None
    store: bool | None = None
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    conversation: str | _Conversation | None = None
    background: Any = None
    include: Any = None
    prompt: Any = None
    text: _Text | None = None


_completions = msgspec.json.Decoder(_Completion)
_responses = msgspec.json.Decoder(_Response)
_inputs = msgspec.json.Decoder(str | list[Message] | None)

NO_TOOLS = "tools are not called here; leave it out."
NO_PROBABILITIES = "probabilities of tokens are not known here; leave it out."
TEXT_ONLY = "answers are text; leave it out."


def parse_completion(body: bytes) -> Call:
    """Read a chat completion's body.

    :raises InvalidInput: names the parameter.
    :raises NotFound: there is no such model.
    """
    read = decode(body, _completions)
    feature = feature_of(read.model)
    _refuse(
        ("n", read.n not in (None, 1), "one answer is given; leave it out, or set it to 1."),
        ("logprobs", bool(read.logprobs), NO_PROBABILITIES),
        ("top_logprobs", bool(read.top_logprobs), NO_PROBABILITIES),
        ("audio", bool(read.audio), TEXT_ONLY),
        ("modalities", read.modalities not in (None, [], ["text"]), TEXT_ONLY),
        ("tools", bool(read.tools), NO_TOOLS),
        ("tool_choice", read.tool_choice not in (None, "none", "auto"), NO_TOOLS),
        ("functions", bool(read.functions), NO_TOOLS),
        ("function_call", read.function_call not in (None, "none", "auto"), NO_TOOLS),
        ("response_format", not _is_text(read.response_format), 'only {"type": "text"} is given.'),
    )
    said = understand(read.messages, "messages")
    return Call(
        model=read.model,
        feature=None if said.is_ui_task else feature,
        said=said,
        options=ModelOptions(
            temperature=_within(read.temperature, 0.0, 2.0),
            top_p=_within(read.top_p, 0.0, 1.0),
            max_tokens=_within(_longest(read), 1, MOST_TOKENS),
            stop=_stops(read.stop),
            seed=_within(read.seed, -(2**63), 2**63 - 1),
        ),
        is_streamed=bool(read.stream),
        has_usage_chunk=bool(read.stream_options and read.stream_options.include_usage),
        conversation_id=_named(read.metadata),
    )


def parse_response(body: bytes) -> ResponseCall:
    """Read the body of a response.

    :raises InvalidInput: names the parameter.
    :raises NotFound: there is no such model.
    """
    read = decode(body, _responses)
    feature = feature_of(read.model)
    include = read.include if isinstance(read.include, list) else []
    _refuse(
        ("tools", bool(read.tools), NO_TOOLS),
        ("tool_choice", read.tool_choice not in (None, "none", "auto"), NO_TOOLS),
        ("top_logprobs", bool(read.top_logprobs), NO_PROBABILITIES),
        ("include", any("logprobs" in str(each) for each in include), NO_PROBABILITIES),
        ("background", bool(read.background), "answers are given at once; leave it out."),
        ("prompt", bool(read.prompt), "no prompts are kept here; send instructions instead."),
        ("text.format", not _is_text(read.text.format if read.text else None), 'only {"type": "text"} is given.'),
    )
    if read.previous_response_id and read.conversation:
        raise InvalidInput("previous_response_id", "either it or conversation says what went before, not both.")
    said = _input(read)
    conversation = read.conversation.id if isinstance(read.conversation, _Conversation) else read.conversation
    return ResponseCall(
        model=read.model,
        feature=None if said.is_ui_task else feature,
        said=said,
        options=ModelOptions(
            temperature=_within(read.temperature, 0.0, 2.0),
            top_p=_within(read.top_p, 0.0, 1.0),
            max_tokens=_within(read.max_output_tokens, 1, MOST_TOKENS),
        ),
        is_streamed=bool(read.stream),
        conversation_id=_named(read.metadata),
        instructions=read.instructions,
        previous=read.previous_response_id,
        recalled=conversation,
        is_stored=read.store is not False,
        metadata=_kept(read.metadata),
    )


def _longest(read: _Completion) -> int | None:
    """The newer of the two names wins."""
    return read.max_tokens if read.max_completion_tokens is None else read.max_completion_tokens


def _input(read: _Response) -> Said:
    given = decode(bytes(read.input), _inputs, "input")
    if given is None:
        raise InvalidInput("input", "is required.")
    messages = [Message("user", Raw(msgspec.json.encode(given)))] if isinstance(given, str) else given
    said = understand(messages, "input")
    if read.instructions is None or not read.instructions.strip():
        return said
    if "\0" in read.instructions:
        raise InvalidInput("instructions", "must not contain a NUL character.")
    return msgspec.structs.replace(said, notes=(read.instructions, *said.notes))


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
