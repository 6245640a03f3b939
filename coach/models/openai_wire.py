"""OpenAI's chat completion stream: bytes in, pieces of an answer out. No sockets in here.

Server-sent events are read as their standard says, and chunks for what they have: an odd field is passed over, and only
what cannot be read at all, or tells of a failure, ends the stream. ChatOpenAI's own path builds three pydantic objects
a chunk (316-455 µs).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from coach.models.base import Delta, FinishReason, Reasoning, Usage
from coach.models.endings import read_ending, read_usage
from coach.models.thinking import ThinkingTags

GARBAGE = "The language model sent something that is no answer; try again."
BROKEN_OFF = "The language model's answer broke off; try again."
UPSTREAM_ERROR = "The language model reported an error instead of going on; try again."

LONGEST_EVENT = 4 << 20
"""Bytes of one event; a longer one is no piece of an answer."""
_MOST_LINES = 64
"""Lines of one event that are tried as JSON one after another; longer ones wait for their end."""

_BOM = b"\xef\xbb\xbf"
_UNREADABLE = object()
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_NO_ERRORS: tuple[Any, ...] = (None, False, 0, 200, "", "0", "200", "ok", "OK", "success", [])
_DEEPEST = 5
_USAGE = (("prompt", "input"), ("completion", "output"))


class AnswerReader:
    """Reads one answer. Once ``failure`` is set, nothing more comes of it;
    ``complaint`` is then what the provider said.

    ``is_alive`` is set by anything that shows a living provider, a comment too.
    """

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.failure: str | None = None
        self.complaint = ""
        self.is_done = self.is_alive = False
        self._lines = _Lines()
        self._event, self._data = b"", list[bytes]()
        self._tags = ThinkingTags()
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

    def feed(self, data: bytes) -> list[Delta | Reasoning]:
        """What ``data`` brought, perhaps nothing. Text before a failure still counts."""
        pieces: list[Delta | Reasoning] = []
        for line in self._lines.feed(data):
            if self.failure is not None or self.is_done:
                break
            self._read_line(line, pieces)
        if self._lines.size + sum(map(len, self._data)) > LONGEST_EVENT:
            self._fail(GARBAGE)
        if self.is_done or self.failure is not None:
            pieces += self._tags.end()
        return pieces

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
        return pieces + self._tags.end()

    def _read_line(self, line: bytes, pieces: list[Delta | Reasoning]) -> None:
        name, _, value = line.partition(b":")
        if not line:
            self._read_event(pieces, is_whole=True)
        elif name == b"event":
            self._event = value.strip().lower()
        elif name == b"data":
            self._data.append(value)
        elif line.lstrip().startswith(b"{"):  # JSON lines, or one whole answer, without the clothes of an event
            self._data.append(line)
        self.is_alive = True
        if self._data and line and len(self._data) <= _MOST_LINES:
            self._read_event(pieces, is_whole=False)

    def _read_event(self, pieces: list[Delta | Reasoning], *, is_whole: bool) -> None:
        """At each line and not only at the blank one behind it, which some endpoints leave out."""
        data = b"\n".join(self._data).strip()
        chunk = _decode(data) if data else None
        if chunk is _UNREADABLE and not is_whole:
            return
        is_error = self._event.endswith((b"error", b"failed")) and (is_whole or bool(data))
        self._data = []
        if is_whole or is_error:
            self._event = b""
        if data == b"[DONE]":
            self.is_done = True
        elif chunk is _UNREADABLE and data.startswith(b"{") and not self._is_over:
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
        thoughts, text = _read_parts(delta.get("content"))
        thoughts = next((told for name in _REASONING if (told := "".join(_read_parts(delta.get(name))))), thoughts)
        text = self._joined(text or _read_parts(delta.get("refusal"))[1])
        if thoughts:
            pieces.append(Reasoning(clean(thoughts)))
        if text:
            self._is_premature = self._is_premature or self.reason is not None
            self.has_text, self.usage = True, None
            pieces += self._tags.feed(text)
        ending = read_ending(choice.get("finish_reason"))
        if ending == "error" or choice.get("error"):
            self._fail(UPSTREAM_ERROR, data)
        elif ending is not None:
            self.reason, self._ends_alone = ending, not text

    def _joined(self, text: str) -> str:
        """With the half of a surrogate pair that the delta before ended in."""
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return clean(text)

    def _fail(self, message: str, complaint: bytes = b"") -> None:
        """After the finish reason the text is complete. A fault behind it does not matter."""
        if self.is_complete:
            self.is_done = True
        elif self.failure is None:
            self.failure, self.complaint = message, complaint[:10_000].decode("utf-8", "replace")


class _Lines:
    """Bytes to lines, which end in LF, CR or both. ``size`` is that of the line that has no end yet."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._is_after_cr = False
        self._is_first = True
        self.size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._is_after_cr and data:
            data = data.removeprefix(b"\n")
        self._is_after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = data.split(b"\n")
        self._rest.append(first)
        for following in others:
            line = b"".join(self._rest)
            self._rest = [following]
            yield line.removeprefix(_BOM) if self._is_first else line
            self._is_first = False
        self.size = sum(map(len, self._rest)) if others else self.size + len(first)


def tells_failure(chunk: dict[str, Any]) -> bool:
    """``{"error": …}``, ``{"error_code": …}``, ``{"object": "error"}``; ``{"detail": …}`` in the place of choices."""
    if "error" in (chunk.get("object"), chunk.get("type"), chunk.get("status")):
        return True
    if any(chunk.get(name) not in _NO_ERRORS for name in ("error", "errors", "error_code", "errcode", "err")):
        return True
    if chunk.keys() & {"choices", "usage"}:
        return False
    status = chunk.get("status")
    code = chunk.get("code", chunk.get("status_code", status if isinstance(status, int) else None))
    is_told = any(chunk.get(name) and isinstance(chunk[name], str) for name in ("message", "msg", "error_msg"))
    return bool(chunk.get("detail")) or code not in _NO_ERRORS or (is_told and code is None)


def _read_parts(content: Any, depth: int = 0) -> tuple[str, str]:
    """Thoughts and text of a content that is a string, a part, or a list of parts."""
    if isinstance(content, str):
        return "", content
    if isinstance(content, list) and depth < _DEEPEST:
        parts = [_read_parts(part, depth + 1) for part in content]
        return "".join(thoughts for thoughts, _ in parts), "".join(text for _, text in parts)
    if not isinstance(content, dict) or depth >= _DEEPEST:
        return "", ""
    fields = (content.get(name) for name in ("text", "content", "thinking", "reasoning", "summary", "refusal"))
    told = next(("".join(_read_parts(field, depth + 1)) for field in fields if field), "")
    is_thought = any(word in str(content.get("type")) for word in ("think", "reason", "thought"))
    return (told, "") if is_thought else ("", told)


def clean(text: str) -> str:
    """What PostgreSQL stores and UTF-8 can say: no NUL, no half of a surrogate pair."""
    if text.isascii() or text.isprintable():
        return text.replace("\0", "")
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decode(data: bytes) -> Any:
    """What msgspec refuses (half surrogates, 1e999, NaN, bytes that are no UTF-8) is left to the slower one."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:20]))
    except (ValueError, RecursionError):
        return _UNREADABLE
