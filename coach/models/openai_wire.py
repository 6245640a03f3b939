"""OpenAI's chat completion stream: bytes in, text out. No sockets in here.

ChatOpenAI's own path builds three pydantic objects a chunk (316-455 µs); this one decodes the few fields a turn needs.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from coach.models.base import FinishReason, Usage

GARBAGE = "The language model sent something that is no answer; try again."
BROKEN_OFF = "The language model's answer broke off; try again."
UPSTREAM_ERROR = "The language model reported an error instead of going on; try again."

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content-filter"}
_LONGEST_LINE = 1 << 20
_FIELDS = (b"event:", b"id:", b"retry:")


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class AnswerReader:
    """Reads one answer. Once ``failure`` is set, nothing more comes of it."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.failure: str | None = None
        self.is_done = False
        self.is_thinking = False
        self._rest = b""

    @property
    def is_complete(self) -> bool:
        """Whether the whole text is here; usage may still follow a finish reason."""
        return self.is_done or self.reason is not None

    def feed(self, data: bytes) -> str:
        """The text that ``data`` brought, perhaps none. Text before a failure still counts."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        texts: list[str] = []
        for line in lines:
            if self.failure is not None or self.is_done:
                break
            self._read(line, texts)
        if len(self._rest) > _LONGEST_LINE:
            self._fail(GARBAGE)
        text = "".join(texts)
        return text.replace("\0", "") if "\0" in text else text  # PostgreSQL stores no NUL

    def end(self) -> None:
        """No more bytes will come."""
        if self.is_complete:
            self.is_done = True
        else:
            self._fail(BROKEN_OFF)

    def _read(self, line: bytes, texts: list[str]) -> None:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                self.is_done = True
            elif data:
                self._read_chunk(data, texts)
        elif line.strip() and not line.startswith((b":", *_FIELDS)):
            self._fail(GARBAGE)

    def _read_chunk(self, data: bytes, texts: list[str]) -> None:
        try:
            chunk = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fail(GARBAGE)
            return
        if chunk.error is not None:
            self._fail(UPSTREAM_ERROR)
            return
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                texts.append(delta.content or delta.refusal or "")
                self.is_thinking = self.is_thinking or bool(delta.reasoning_content or delta.reasoning)
            if choice.finish_reason:
                self.reason = _REASONS.get(choice.finish_reason, "other")
        if chunk.usage is not None:
            self.usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)

    def _fail(self, message: str) -> None:
        """After the finish reason the text is complete. A fault behind it does not matter."""
        if self.reason is None:
            self.failure = message
        else:
            self.is_done = True
