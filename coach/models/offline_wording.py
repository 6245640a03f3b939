"""How the offline model puts what it found: statements with their citations, one next step, one question back."""

from __future__ import annotations

from collections.abc import Sequence, Set
from zlib import crc32

from coach.models.offline_reading import Excerpt
from coach.models.offline_relevance import best_sentences, quotable
from coach.models.offline_statements import Statement, is_state, read_source

_LIVE = {"overdue": "“{}” is overdue", "today": "“{}” is for today", "deadline": "“{}”"}
_WITH_DETAILS = frozenset(_LIVE)
_QUESTIONS = (
    "What would make {it} easier to begin?",
    "What is the one thing about {it} that you would like to be different a week from now?",
    "What has held {it} up so far, time, energy, or something else?",
    "How will you notice that {it} is going better?",
)
_QUESTIONS_BACK = (
    "What would you like to do with that now?",
    "What else belongs to it that I should know?",
    "How do you see that today?",
)
_STEPS = {
    "task": "give “{}” its smallest piece today",
    "project": "choose the next task of “{}”, and give it a time this week",
    "overdue": "take “{}” and do its smallest piece today, before anything new",
    "deadline": "choose the next task of “{}”, and give it a time this week",
    "alignment": "give “{}” one block of time this week",
}
_STEPS["today"] = _STEPS["overdue"]
_READ_AGAIN = "read that again today and write one line on what has changed since"
_CHOOSE = "choose the line above that matters most, and give it your next free half hour"


def name_row(kind: str, title: str, day: str = "") -> str:
    """``Your journal entry “Stairs again”, 4 May 2026``."""
    label = "What we talked about" if kind == "conversation" else f"Your {kind.replace('_', ' ') or 'note'}"
    return label + (f" “{quotable(title)}”" if title else "") + (f", {day}" if day else "")


def word_statement(said: Statement) -> str:
    """One sentence, cited; the state of a row in its own words, what somebody wrote in quotation marks."""
    if said.line and said.kind not in _WITH_DETAILS:
        return f"{quotable(said.line[0].upper() + said.line[1:])}{cite(said)}."
    if said.line:
        head = _LIVE[said.kind].format(quotable(said.subject))
        told = f"{head}: {quotable(said.text)}" if said.text else head
        return f"{told}{cite(said)}."
    row = name_row(said.kind, said.subject, said.day)
    return f"{row}: {_plain(said.text)}{cite(said)}." if said.is_state else word_quote(row, said.text, said)


def word_quote(row: str, text: str, said: Statement) -> str:
    return f"{row}: “{quotable(text)}”{cite(said)}" if text else row + cite(said)


def word_excerpt(source: Excerpt, topic: Set[str]) -> str:
    """The two sentences of a source that bear most on the topic."""
    first, *_ = read_source(source)
    told = best_sentences(source, topic, 2)
    row = name_row(source.kind, source.title, first.day)
    if len(told) == 1 and is_state(told[0]):
        return f"{row}: {_plain(told[0])}{cite(first)}"
    return word_quote(row, " ".join(told), first)


def word_item(said: Statement, *, names_kind: bool) -> str:
    """The same as one line of a list, under a heading that may name its kind."""
    if not said.line:
        return word_statement(said).removesuffix(".")
    if names_kind or not said.subject:
        return quotable(said.line if names_kind else said.text) + cite(said)
    told = f"{said.subject} ({said.text})" if said.kind in _WITH_DETAILS else _short(said)
    return quotable(told) + cite(said)


def _short(said: Statement) -> str:
    """``Health: alignment 0.62, …`` instead of the whole line, which names its kind and week."""
    named = f"{said.kind} " if said.text[:1].isdigit() else ""
    return f"{said.subject}: {named}{said.text}"


def _plain(state: str) -> str:
    """``In Progress, high priority, deadline …`` within a sentence."""
    status, comma, rest = quotable(state).rstrip(".").partition(",")
    return (status if "on " in status else status.lower()).replace("Done", "done") + comma + rest


def cite(said: Statement) -> str:
    return "" if said.n is None else f" [{said.n}]"


def next_step(found: Sequence[Statement]) -> str:
    """About the first open one; else about what was read."""
    open_one = next((s for s in found if s.kind in _STEPS and s.subject and not s.is_over), None)
    if open_one is not None:
        return f"One next step: {_STEPS[open_one.kind].format(quotable(open_one.subject))}{cite(open_one)}."
    read = next((s for s in found if s.n is not None), None)
    return f"One next step: {_CHOOSE if read is None else _READ_AGAIN + cite(read)}."


def ask_about(found: Sequence[Statement], question: str) -> str:
    """About the first open thing; about what was read where there is none."""
    subject = next((s.subject for s in found if s.kind in _STEPS and s.subject and not s.is_over), "")
    of_them = _QUESTIONS if subject else _QUESTIONS_BACK
    chosen = of_them[crc32(question.encode("utf-8", "replace")) % len(of_them)]
    return chosen.format(it=f"“{quotable(subject)}”")
