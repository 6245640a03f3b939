"""What the offline model says: facts with their citations, one next step, one question back.

It invents nothing. Every figure and date it writes stands in the prompt, so that the check of an answer's figures
against the rows holds for it as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from zlib import crc32

from coach.models.offline_reading import Excerpt, Reading
from coach.models.offline_relevance import (
    best_sentences,
    pressing_state,
    quotable,
    relevant_excerpts,
    relevant_state,
    words,
)

STAND_IN = (
    "(I am Aurum Coach's offline stand-in: I put this together from your own rows, without a language model; "
    "set COACH_OPENAI_API_KEY, or COACH_CHAT_MODEL, to connect a real one.)"
)
NOTHING = "I looked through what I may read of yours and found nothing on that, so I would rather not guess."
_KINDS = {
    "pillar": "Your pillar",
    "area": "Your area",
    "project": "Your project",
    "task": "Your task",
    "journal_entry": "Your journal",
    "behavior_summary": "Your activity summary",
    "conversation": "What we talked about",
}
_PLANNING = frozenset(
    words("today tomorrow tonight priority priorities overdue due urgent focus deadline agenda plan planning week next")
)
_DUE = re.compile(r"(overdue|today|due[^:]*|deadline[^:]*)\s*:\s*(.+)", re.IGNORECASE | re.DOTALL)
_OVER = re.compile(r"\bDone(?: on\b|[,.])|\b[Cc]ompleted\b|\b[Cc]ancelled\b|\b[Aa]rchived\b")
_QUESTIONS = (
    "What would make {it} easier to begin?",
    "What is the one thing about {it} that you would like to be different a week from now?",
    "What has held {it} up so far, time, energy, or something else?",
    "How will you notice that {it} is going better?",
)
_ABOUT_THE_DAY = "Which of these would you be gladdest to have behind you tonight?"
_ABOUT_NOTHING = "What would you like me to know about it?"


def compose_answer(reading: Reading) -> str:
    """The answer to a prompt; equal prompts get equal answers."""
    if reading.has_context:
        body = _grounded(reading)
    elif reading.question:
        body = [NOTHING, _ABOUT_NOTHING]
    else:
        body = ["Ask me anything about your goals, projects, tasks or journal."]
    return "\n\n".join([STAND_IN, *body] if reading.is_first else body)


def _grounded(reading: Reading) -> list[str]:
    asked = frozenset(words(reading.question))
    excerpts = relevant_excerpts(reading, asked)[:3]
    is_planning = bool(_PLANNING & asked)
    state = pressing_state(reading) if is_planning else relevant_state(reading, asked)[:3]
    if not excerpts and not state:
        return _nothing_direct(reading)
    due = _first_due(state)
    subject = due or next((e.title for e in excerpts if not _is_over(e)), "")
    back = _ABOUT_THE_DAY if is_planning and len(state) > 1 else _ask_about(subject, reading.question)
    return [*_facts(asked, state, excerpts, is_planning), _next_step(due, excerpts), back]


def _facts(asked: Set[str], state: Sequence[str], excerpts: Sequence[Excerpt], is_planning: bool) -> list[str]:
    facts = []
    if state:
        heading = "This is where things stand right now:" if is_planning else "Your current rows say:"
        facts.append("\n".join([heading, *(f"- {quotable(line)}" for line in state)]))
    if excerpts:
        heading = "And from what you have written:" if state else "From what you have written:"
        facts.append("\n".join([heading, *(f"- {_fact(excerpt, asked)}" for excerpt in excerpts)]))
    return facts


def _nothing_direct(reading: Reading) -> list[str]:
    """Nothing shares a word with the question. What retrieval thought nearest is offered as no more than that."""
    if not reading.sources:
        return [NOTHING, _ABOUT_NOTHING]
    return [
        "I found nothing of yours that names that directly. The closest I have, and it may be beside the point:\n- "
        + _fact(reading.sources[0], frozenset()),
        "One next step: tell me in a sentence what you have in mind, in other words, and I will look again.",
        _ABOUT_NOTHING,
    ]


def _fact(excerpt: Excerpt, asked: Set[str]) -> str:
    kind = _KINDS.get(excerpt.kind, "Your notes")
    title = f" “{quotable(excerpt.title)}”" if excerpt.title else ""
    date = f" ({excerpt.date})" if excerpt.date else ""
    said = " ".join(best_sentences(excerpt, asked, 2))
    return f"{kind}{title}{date}: “{said}” [{excerpt.n}]" if said else f"{kind}{title}{date} [{excerpt.n}]"


def _next_step(due: str, excerpts: Sequence[Excerpt]) -> str:
    if due:
        cited = next((f" [{e.n}]" for e in excerpts if quotable(e.title) == due), "")
        return f"One next step: take “{due}” and do its smallest piece today, before anything new{cited}."
    open_task = next((e for e in excerpts if e.kind == "task" and e.title and not _is_over(e)), None)
    if open_task is not None:
        return f"One next step: give “{quotable(open_task.title)}” its smallest piece today [{open_task.n}]."
    if excerpts:
        return f"One next step: read that again today and write one line on what has changed since [{excerpts[0].n}]."
    return "One next step: choose the line above that matters most, and give it your next free half hour."


def _is_over(excerpt: Excerpt) -> bool:
    return excerpt.kind in ("task", "project") and _OVER.search(excerpt.text) is not None


def _first_due(state: Sequence[str]) -> str:
    """The title of the first overdue or due line: ``Book the MRI (due 2026-11-20, …)`` without its last parentheses."""
    line = next((found[2] for line in state if (found := _DUE.match(line))), "")
    return quotable(line[: line.rindex(" (")] if line.endswith(")") and " (" in line else line)


def _ask_about(subject: str, question: str) -> str:
    chosen = _QUESTIONS[crc32(question.encode("utf-8", "replace")) % len(_QUESTIONS)]
    return chosen.format(it=f"“{quotable(subject)}”" if subject else "it")
