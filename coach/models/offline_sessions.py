"""How the offline model runs a coaching session: it counts messages and quotes them. Deterministic."""

from __future__ import annotations

import re
from calendar import day_name
from datetime import date, timedelta

import msgspec

_TURN = re.compile(r"^(USER|ASSISTANT): (.*)$", re.MULTILINE)
_HEAD = re.compile(r"coaching session \((\w+)\) of \w+, (\d{4}-\d\d-\d\d)")
_PROJECTS = re.compile(r"<projects>\n(.*?)\n?</projects>", re.DOTALL)
_SENTENCE = re.compile(r"[^.!?;\n]+(?:\.\d+[^.!?;\n]*)*")
_PROMISE = re.compile(
    r"\b(?:I['’]ll|I will|I shall|I['’]m going to|I am going to|I commit to|I promise to|I plan to|ich werde)\s+(.+)",
    re.I,
)
_DAYS = [name.lower() for name in day_name]
_WHEN = re.compile(
    r"\b(?:(?:by|on|until|before|this|next)\s+)*"
    rf"(?P<day>{'|'.join(_DAYS)}|today|tonight|tomorrow|next week|\d{{4}}-\d\d-\d\d)\b",
    re.IGNORECASE,
)

_ENOUGH = 2
"""Answers in a stage: the first opens it, the second says what was asked."""

_QUOTED, _WIDTH, _PROMISES, _TITLE = 6, 200, 5, 100


def judge(instructions: str, history: str) -> str:
    """``{"done": …}``."""
    said = sum(1 for speaker, _ in _turns(history) if speaker == "USER")
    return msgspec.json.encode({"done": said >= _ENOUGH}).decode()


def conclude(instructions: str, history: str) -> str:
    """``{"summary": …, "commitments": […]}`` out of the user's own sentences."""
    head = _HEAD.search(instructions)
    kind, today = (head[1], date.fromisoformat(head[2])) if head else ("free", date.min)
    listed = _PROJECTS.search(instructions)
    projects = [name for name in (listed[1] if listed else "").splitlines() if name.strip()]
    said = [text for speaker, text in _turns(history) if speaker == "USER" and text]
    promises = [found for text in said for found in _promises(text, today, projects)][-_PROMISES:]
    about = kind.replace("_", " ").capitalize() if kind != "grow" else "GROW"
    if not said:
        summary = f"{about} session of {today.isoformat()}: it was ended before anything was said."
    else:
        quoted = " ".join(f"“{_cut(text, _WIDTH)}”" for text in said[-_QUOTED:])
        summary = f"{about} session of {today.isoformat()}. What was said: {quoted}"
        if promises:
            summary += " Decided: " + "; ".join(str(each["title"]) for each in promises) + "."
    return msgspec.json.encode({"summary": summary, "commitments": promises}).decode()


def _turns(history: str) -> list[tuple[str, str]]:
    return [(found[1], _plain(found[2]).strip()) for found in _TURN.finditer(history)]


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&amp;", "&")


def _promises(text: str, today: date, projects: list[str]) -> list[dict[str, str | None]]:
    found = []
    for sentence in _SENTENCE.findall(text):
        if promise := _PROMISE.search(sentence):
            when = _WHEN.search(promise[1])
            what = promise[1][: when.start()] + promise[1][when.end() :] if when else promise[1]
            title = " ".join(what.split()).strip(" ,:-–")
            if title:
                named = next((_plain(name) for name in projects if _plain(name).casefold() in text.casefold()), None)
                found.append(
                    {
                        "title": _cut(title[0].upper() + title[1:], _TITLE),
                        "due_date": _day(when["day"].lower(), today) if when else None,
                        "project": named,
                    }
                )
    return found


def _day(named: str, today: date) -> str | None:
    """The next day of that name; the same weekday means a week from now."""
    if named in _DAYS:
        return (today + timedelta(days=(_DAYS.index(named) - today.weekday() - 1) % 7 + 1)).isoformat()
    apart = {"today": 0, "tonight": 0, "tomorrow": 1, "next week": 7}.get(named)
    return named if apart is None else (today + timedelta(days=apart)).isoformat()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width].rsplit(" ", 1)[0] + " …"
