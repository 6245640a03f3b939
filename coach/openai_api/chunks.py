"""A turn's events as chat completions: chunks of a stream, or one object."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import Struct

from coach.chat.encoders import DONE, ended_properly
from coach.chat.events import Event, Failed, Finished, Interrupted, Started, Terminal, TextDelta
from coach.models.base import FinishReason, Usage
from coach.openai_api.errors import OpenAIError, details
from coach.openai_api.response_objects import Facts, ResponseObject, response_object

_json = msgspec.json.Encoder().encode

# OpenAI has four finish reasons. Any other reason of a provider counts as ``stop``.
REASONS: dict[FinishReason, str] = {"stop": "stop", "length": "length", "content-filter": "content_filter"}
STOPPED = "The answer was stopped before its end."


class PromptDetails(Struct, frozen=True):
    cached_tokens: int = 0
    audio_tokens: int = 0


class AnswerDetails(Struct, frozen=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Tokens(Struct, frozen=True):
    """``usage`` of a chat completion."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: AnswerDetails = AnswerDetails()


class Reply(Struct, frozen=True):
    role: Literal["assistant"]
    content: str
    refusal: None = None
    annotations: tuple[Any, ...] = ()


class Choice(Struct, frozen=True):
    message: Reply
    finish_reason: str
    index: int = 0
    logprobs: None = None


class Completion(Struct, frozen=True):
    """``chat.completion``: the whole answer. ``system_fingerprint`` names the prompt and its version."""

    id: str
    created: int
    model: str
    system_fingerprint: str | None
    choices: tuple[Choice, ...]
    usage: Tokens
    object: Literal["chat.completion"] = "chat.completion"
    service_tier: Literal["default"] = "default"


class CompleteAnswer(Struct, frozen=True):
    """A turn read to its end. ``prompt`` is the prompt's name and version."""

    message_id: str
    prompt: str
    text: str
    ending: Terminal


def completion_id(message_id: str) -> str:
    return f"chatcmpl-{message_id.removeprefix('msg_')}"


def tokens(usage: Usage) -> Tokens:
    return Tokens(usage.input_tokens, usage.output_tokens, usage.total_tokens)


async def read_complete_answer(reader: AsyncIterable[Sequence[Event]]) -> CompleteAnswer:
    """Read a turn to its end, however it ends."""
    message_id, prompt, texts = "", "", list[str]()
    async with aclosing(ended_properly(reader)) as batches:
        async for batch in batches:
            for event in batch:
                match event:
                    case TextDelta(text):
                        texts.append(text)
                    case Started():
                        message_id, prompt = event.message_id, event.prompt
                    case Finished() | Interrupted() | Failed():
                        return CompleteAnswer(message_id, prompt, "".join(texts), event)
    raise AssertionError("ended_properly gives a terminal event")


def completion(model: str, whole: CompleteAnswer, ending: Finished) -> Completion:
    return Completion(
        id=completion_id(whole.message_id),
        created=int(time.time()),
        model=model,
        system_fingerprint=whole.prompt or None,
        choices=(Choice(Reply("assistant", whole.text), REASONS.get(ending.reason, "stop")),),
        usage=tokens(ending.usage),
    )


def whole_response(facts: Facts, whole: CompleteAnswer, ending: Finished) -> ResponseObject:
    return response_object(facts, whole.message_id, whole.text, ending, has_output=True)


def error_frame(ending: Interrupted | Failed) -> OpenAIError:
    """What a stream says that cannot go on."""
    if isinstance(ending, Failed):
        return details(ending.slug, ending.detail)
    return details("interrupted", STOPPED)


class Chunks:
    """Events to frames of the stream. What all chunks share is encoded once a stream."""

    def __init__(self, model: str, *, has_usage: bool) -> None:
        self._model, self._has_usage = model, has_usage
        self._head = self._delta = b""

    def encode(self, event: Event) -> list[bytes]:
        match event:
            case TextDelta(text):
                return [self._delta + _json(text) + _AFTER_TEXT]
            case Started():
                return [self._open(event)]
            case Finished():
                return [*self._ends(event), DONE]
            case Interrupted() | Failed():
                return [b"data: " + _json(error_frame(event)) + b"\n\n", DONE]
            case _:
                return []

    def _open(self, started: Started) -> bytes:
        shared = {
            "id": completion_id(started.message_id),
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._model,
            "service_tier": "default",
            "system_fingerprint": started.prompt or None,
        }
        self._head = b"data: " + _json(shared)[:-1]
        self._delta = self._head + b',"choices":[{"index":0,"delta":{"content":'
        return self._chosen({"role": "assistant", "content": "", "refusal": None})

    def _chosen(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._head + b',"choices":[' + _json(choice) + b'],"usage":null}\n\n'

    def _ends(self, event: Finished) -> list[bytes]:
        last = self._chosen({}, REASONS.get(event.reason, "stop"))
        if not self._has_usage:
            return [last]
        return [last, self._head + b',"choices":[],"usage":' + _json(tokens(event.usage)) + b"}\n\n"]


_AFTER_TEXT = b'},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
