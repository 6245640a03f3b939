"""Titles, tags and follow-ups, as chat UIs ask for them with ``### Task:``, without a language model."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from coach.models.offline_sessions import conclude, judge
from coach.models.offline_words import words

_HISTORY = re.compile(r"<chat_history>(.*?)</chat_history>", re.DOTALL)
_TURN = re.compile(r"^(USER|ASSISTANT|user|assistant):\s*(.*)$", re.MULTILINE)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_UNTITLED = "A conversation with the coach"


def answer_ui_task(prompt: str) -> str:
    """JSON where the instructions show its shape, else a plain title of at most six words."""
    found = _HISTORY.search(prompt)
    instructions = prompt[: found.start()] if found else prompt
    history = found[1] if found else ""
    for key, answer in _ABOUT_SESSIONS.items():
        if f'{{"{key}"' in instructions:
            return answer(instructions, history)
    about = _first_question(history)
    for key, value in _SHAPES.items():
        if f'"{key}"' in instructions:
            return msgspec.json.encode({key: value(about)}).decode()
    return _title(about)


def _first_question(history: str) -> str:
    asked = next((turn for turn in _TURN.finditer(history) if turn[1].upper() == "USER"), None)
    return asked[2].strip() if asked else history.strip().split("\n", 1)[0]


def _title(question: str) -> str:
    spoken = _WORD.findall(question)
    telling = [word for word in spoken if words(word)] or spoken
    title = " ".join(telling[:6])[:60]
    return title[:1].upper() + title[1:] if title else _UNTITLED


def _tags(question: str) -> list[str]:
    telling = [word.capitalize() for word in _WORD.findall(question) if words(word) and len(word) > 3]
    return list(dict.fromkeys(telling))[:3] or ["General"]


_SHAPES: dict[str, Callable[[str], str | list[str]]] = {
    "title": _title,
    "tags": _tags,
    "follow_ups": lambda _: ["What should I do first?", "What is in the way?", "How will I know it worked?"],
    "queries": lambda _: [],
}
_ABOUT_SESSIONS: dict[str, Callable[[str, str], str]] = {"done": judge, "summary": conclude}
