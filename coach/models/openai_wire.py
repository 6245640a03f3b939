"""OpenAI's chat completion stream: bytes in, pieces of an answer out. No sockets in here.

Server-sent events are read as their standard says, and chunks for what they have: an odd field is passed over, and only
what cannot be read at all, or tells of a failure, ends the stream. ChatOpenAI's own path builds three pydantic objects
a chunk (316-455 µs).
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct

from coach.models.base import Delta, FinishReason, Reasoning, Usage
from coach.models.chunks import UNREADABLE, clean, decode_chunk, read_parts, tells_failure
from coach.models.endings import read_ending, read_usage
from coach.models.event_lines import EventLines
from coach.models.thinking import ThinkingTags

GARBAGE = "The language model sent something that is no answer; try again."
BROKEN_OFF = "The language model's answer broke off; try again."
UPSTREAM_ERROR = "The language model reported an error instead of going on; try again."

LONGEST_EVENT = 4 << 20
"""Bytes of one event; a longer one is no piece of an answer."""
_LINE = 64
"""Bytes that a line costs beside its own."""
_MOST_LINES = 64
"""Lines of one event that are tried as JSON one after another; longer ones wait for their end."""

_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_USAGE = (("prompt", "input"), ("completion", "output"))


class _Delta(Struct):
    content: str
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    reasoning_details: None = None
    thinking: None = None


class _Choice(Struct):
    delta: _Delta
    finish_reason: None = None
    error: None = None


class _Word(Struct):
    """The chunk that an answer is made of: some text, and nothing else. Four times as quick as reading any chunk."""

    choices: tuple[_Choice]
    usage: None = None
    error: None = None
    error_code: None = None


_decode_word = msgspec.json.Decoder(_Word).decode


class AnswerReader:
    """Reads one answer. Once ``failure`` is set, nothing more comes of it;
    ``complaint`` is then what the provider said.

    ``is_alive`` is set by anything that shows a living provider, a comment too.
    """

    def __init__(self, *, is_unopened: bool = False) -> None:
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.failure: str | None = None
        self.complaint = ""
        self.is_done = self.is_alive = False
        self._lines = EventLines()
        self._event, self._data, self._size = b"", list[bytes](), 0
        self._tags = ThinkingTags(is_unopened=is_unopened)
        self._half = ""
        self.has_text = self._ends_alone = self._is_premature = self._is_over = False

    @property
    def is_complete(self) -> bool:
        """Whether the whole text is here; usage may still follow a finish reason.

        Some endpoints send a finish reason with each chunk: one that comes with text, or before more of it, ends
        nothing.
        """
        return self.is_done or (self.has_text and self._ends_alone and not self._is_premature)

    @property
    def may_be_complete(self) -> bool:
        """Whether nothing speaks against it, once nothing more comes."""
        return self.is_done or (self.has_text and self.reason is not None and not self._is_premature)

    @property
    def is_unopened(self) -> bool:
        """See ``ThinkingTags``."""
        return self._tags.is_unopened

    def feed(self, data: bytes) -> list[Delta | Reasoning]:
        """What ``data`` brought, perhaps nothing. Text before a failure still counts."""
        pieces: list[Delta | Reasoning] = []
        for line in self._lines.feed(data):
            if self.failure is not None or self.is_done:
                break
            self._read_line(line, pieces)
        if self._lines.size + self._size > LONGEST_EVENT:
            self._fail(GARBAGE)
        if self.is_done or self.failure is not None:
            pieces += self._last_pieces()
        return _merged(pieces)

    def end(self, *, is_cut: bool = False) -> list[Delta | Reasoning]:
        """No more bytes will come, in order or since the connection broke."""
        pieces: list[Delta | Reasoning] = []
        self._is_over = True
        for line in (*self._lines.feed(b"\n"), b""):
            if self.failure is None and not self.is_done:
                self._read_line(line, pieces)
        if self.reason is None or (is_cut and not self.is_complete):
            self._fail(BROKEN_OFF)
        self.is_done = self.failure is None
        return pieces + self._last_pieces()

    def _last_pieces(self) -> list[Delta | Reasoning]:
        return self._tags.end(is_whole=self.failure is None and self.reason != "length")

    def _read_line(self, line: bytes, pieces: list[Delta | Reasoning]) -> None:
        name, _, value = line.partition(b":")
        if name == b"data" and not self._data and not self._event and self._read_word(value, pieces):
            return
        if not line:
            if self._data or self._event:
                self._read_event(pieces, is_whole=True)
        elif name == b"event":
            self._event = value.strip().lower()
        elif name == b"data":
            self._keep(value)
        elif line.lstrip().startswith(b"{"):  # JSON lines, or one whole answer, without the clothes of an event
            self._keep(line)
        self.is_alive = True
        if self._data and line and len(self._data) <= _MOST_LINES:
            self._read_event(pieces, is_whole=False)

    def _keep(self, data: bytes) -> None:
        self._data.append(data)
        self._size += len(data) + _LINE

    def _read_word(self, data: bytes, pieces: list[Delta | Reasoning]) -> bool:
        try:
            text = _decode_word(data).choices[0].delta.content
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
        self._say(text, pieces)
        return True

    def _say(self, text: str, pieces: list[Delta | Reasoning]) -> None:
        text = self._joined(text)
        if text:
            self._is_premature = self._is_premature or self.reason is not None
            self.has_text, self.usage = True, None
            pieces += self._tags.feed(text)

    def _read_event(self, pieces: list[Delta | Reasoning], *, is_whole: bool) -> None:
        """At each line and not only at the blank one behind it, which some endpoints leave out."""
        data = b"\n".join(self._data).strip()
        chunk = decode_chunk(data) if data else None
        if chunk is UNREADABLE and not is_whole:
            return
        is_error = self._event.endswith((b"error", b"failed")) and (is_whole or bool(data))
        self._data, self._size = [], 0
        if is_whole or is_error:
            self._event = b""
        if data == b"[DONE]":
            self.is_done = True
        elif chunk is UNREADABLE and data.startswith(b"{") and not self._is_over:
            self._fail(GARBAGE)
        elif isinstance(chunk, dict):
            self._read_chunk(chunk, data, pieces)
        if is_error:
            self._fail(UPSTREAM_ERROR, data)

    def _read_chunk(self, chunk: dict[str, Any], data: bytes, pieces: list[Delta | Reasoning]) -> None:
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._read_choice(choice, data, pieces)
        told = chunk.get("usage")
        if isinstance(told, dict):
            asked, written = (told.get(f"{ours}_tokens", told.get(f"{theirs}_tokens")) for ours, theirs in _USAGE)
            self.usage = read_usage(asked, written)
        if tells_failure(chunk):
            self._fail(UPSTREAM_ERROR, data)

    def _read_choice(self, choice: dict[str, Any], data: bytes, pieces: list[Delta | Reasoning]) -> None:
        delta = choice.get("delta") if "delta" in choice or self.has_text else choice.get("message")
        delta = delta if isinstance(delta, dict) else {"content": choice.get("text")}
        thoughts, text = read_parts(delta.get("content"))
        thoughts = next((told for name in _REASONING if (told := "".join(read_parts(delta.get(name))))), thoughts)
        text = text or read_parts(delta.get("refusal"))[1]
        if thoughts:
            pieces.append(Reasoning(clean(thoughts)))
        self._say(text, pieces)
        ending = read_ending(choice.get("finish_reason"))
        if ending == "error" or choice.get("error"):
            self._fail(UPSTREAM_ERROR, data)
        elif ending is not None:
            self.reason, self._ends_alone = ending, not text

    def _joined(self, text: str) -> str:
        """With the half of a surrogate pair that the delta before ended in."""
        if self._half:
            text, self._half = self._half + text, ""
        if text.isascii():
            return text.replace("\0", "")
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return clean(text)

    def _fail(self, message: str, complaint: bytes = b"") -> None:
        """After the finish reason the text is complete. A fault behind it does not matter."""
        if self.is_complete:
            self.is_done = True
        elif self.failure is None:
            self.failure, self.complaint = message, complaint[:10_000].decode("utf-8", "replace")


def _merged(pieces: list[Delta | Reasoning]) -> list[Delta | Reasoning]:
    """What came together goes on together."""
    if len(pieces) < 2:
        return pieces
    return [kind("".join(piece.text for piece in group)) for kind, group in groupby(pieces, type)]
