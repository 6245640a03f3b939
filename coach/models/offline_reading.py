"""How the offline model reads a prompt: the delimiters of ``coach.chat.delimiters``, back into parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import unescape

from msgspec import Struct

from coach.models.base import ChatMessage

UI_TASK = "### Task:"
"""How chat UIs begin a call for a title, tags or follow-ups."""

_HEADER = re.compile(r'((?:\w+="[^"]*"\s*)+)>')
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


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
        return not self.has_context and self.question.lstrip().startswith(UI_TASK)


def read_prompt(messages: Sequence[ChatMessage]) -> Reading:
    """The last user message, taken apart; its values unescaped."""
    asked = next((m.content for m in reversed(messages) if m.role == "user"), "")
    is_first = not any(m.role == "assistant" for m in messages)
    context, after = _between(asked, "context")
    question, _ = _between(after, "question")
    question = after.strip() if question is None else unescape(question).strip()
    if context is None:
        return Reading(question, is_first=is_first)
    now, state, sources = (_between(context, tag)[0] or "" for tag in ("now", "state", "sources"))
    facts = (unescape(line).strip().removeprefix("- ").strip() for line in state.splitlines())
    return Reading(question, tuple(filter(None, facts)), tuple(_excerpts(sources)), True, unescape(now), is_first)


def _between(text: str, tag: str) -> tuple[str | None, str]:
    """What stands between the first pair, and the rest. Values are escaped, so they cannot hold either."""
    _, _, rest = text.partition(f"<{tag}>")
    inside, closed, after = rest.partition(f"</{tag}>")
    return (inside, after) if closed else (None, text)


def _excerpts(block: str) -> Iterator[Excerpt]:
    """Split at the opening tags, not matched by one pattern: that took quadratic time on text that never closes."""
    for piece in block.split("<source ")[1:]:
        header = _HEADER.match(piece)  # not up to the first ">": a title may hold one
        body, closed, _ = piece[header.end() if header else 0 :].partition("</source>")
        values = {name: unescape(value) for name, value in _ATTRIBUTE.findall(header[1] if header else "")}
        number = values.get("n", "")
        if closed and number.isascii() and number.isdigit():
            kind, title, date = (values.get(name, "") for name in ("kind", "title", "date"))
            yield Excerpt(int(number[:9]), kind, title, date, unescape(body).strip())
