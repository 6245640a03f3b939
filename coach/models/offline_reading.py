"""How the offline model reads a prompt: the delimiters of ``coach.chat.delimiters``, back into parts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from coach.models.base import ChatMessage

UI_TASK = "### Task:"
"""How chat UIs begin a call for a title, tags or follow-ups."""

_HEADER = re.compile(r'((?:\w+="[^"]*"\s*)+)>')
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_ENTITY = re.compile(r"&(lt|gt|quot|apos|#39|amp);")
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "#39": "'", "amp": "&"}


class Excerpt(Struct, frozen=True):
    """One source as the prompt shows it; ``n`` is its citation."""

    n: int
    kind: str
    title: str
    date: str
    text: str


class Reading(Struct, frozen=True):
    """What a prompt holds. A prompt without the delimiters is all question."""

    question: str
    state: tuple[str, ...] = ()
    sources: tuple[Excerpt, ...] = ()
    has_context: bool = False
    now: str = ""
    is_first: bool = True

    @property
    def is_ui_task(self) -> bool:
        return self.question.lstrip().startswith(UI_TASK)


def read_prompt(messages: Sequence[ChatMessage]) -> Reading:
    """The last user message, taken apart; its values unescaped."""
    asked = next((m.content for m in reversed(messages) if m.role == "user"), "")
    is_first = not any(m.role == "assistant" for m in messages)
    context, after = _between(asked, "<context>", "</context>")
    if context is None:
        return Reading(_question(asked), is_first=is_first)
    state, _ = _between(context, "<state>", "</state>")
    sources, _ = _between(context, "<sources>", "</sources>")
    now, _ = _between(context, "<now>", "</now>")
    return Reading(
        _question(after), _fact_lines(state or ""), _excerpts(sources or ""), True, _unescape(now or ""), is_first
    )


def _between(text: str, opening: str, closing: str) -> tuple[str | None, str]:
    """What stands between the first pair, and the rest. Values are escaped, so they cannot hold either."""
    before, found, rest = text.partition(opening)
    if not found:
        return None, before
    inside, found, after = rest.partition(closing)
    return (inside, after) if found else (None, text)


def _question(text: str) -> str:
    inside, _ = _between(text, "<question>", "</question>")
    return text.strip() if inside is None else _unescape(inside).strip()


def _fact_lines(block: str) -> tuple[str, ...]:
    lines = (_unescape(line).strip().removeprefix("- ").strip() for line in block.splitlines())
    return tuple(line for line in lines if line)


def _excerpts(block: str) -> tuple[Excerpt, ...]:
    """Split at the opening tags, not matched by one pattern: that took quadratic time on text that never closes."""
    pieces = block.split("<source ")[1:]
    return tuple(excerpt for piece in pieces if (excerpt := _excerpt(piece)) is not None)


def _excerpt(piece: str) -> Excerpt | None:
    header = _HEADER.match(piece)  # not up to the first ">": a title may hold one
    if header is None:
        return None
    body, closed, _ = piece[header.end() :].partition("</source>")
    values = {name: _unescape(value) for name, value in _ATTRIBUTE.findall(header[1])}
    number = values.get("n", "")
    if not (closed and number.isascii() and number.isdigit()):
        return None
    return Excerpt(
        int(number[:9]),
        values.get("kind", ""),
        values.get("title", ""),
        values.get("date", ""),
        _unescape(body).strip(),
    )


def _unescape(text: str) -> str:
    return _ENTITY.sub(lambda found: _ENTITIES[found[1]], text) if "&" in text else text
