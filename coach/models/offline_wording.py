"""How the offline model puts what it found: statements with their citations, one next step, one question back."""

from __future__ import annotations

from collections.abc import Sequence, Set
from zlib import crc32

from coach.models.offline_reading import Excerpt
from coach.models.offline_statements import Statement, is_state, read_source
from coach.models.offline_words import best_sentences, quotable

_LIVE = {"overdue": "“{}” is overdue", "today": "“{}” is for today", "deadline": "“{}”"}
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
_TAKE = "take “{}” and do its smallest piece today, before anything new"
_CHOOSE_TASK = "choose the next task of “{}”, and give it a time this week"
_STEPS = {
    "task": "give “{}” its smallest piece today",
    "project": _CHOOSE_TASK,
    "overdue": _TAKE,
    "today": _TAKE,
    "deadline": _CHOOSE_TASK,
    "alignment": "give “{}” one block of time this week",
}
_READ_AGAIN = "read that again today and write one line on what has changed since"
_CHOOSE = "choose the line above that matters most, and give it your next free half hour"


def word_statement(said: Statement) -> str:
    """One sentence, cited; the state of a row in its own words, what somebody wrote in quotation marks."""
    if not said.line:
        quote = _row(said, said.text)
        return quote + "." if said.is_state else quote
    if said.kind not in _LIVE:
        return f"{quotable(said.line[0].upper() + said.line[1:])}{_cite(said)}."
    head = _LIVE[said.kind].format(quotable(said.subject))
    return f"{head}{': ' if said.text else ''}{quotable(said.text)}{_cite(said)}."


def word_excerpt(source: Excerpt, topic: Set[str]) -> str:
    """The two sentences of a source that bear most on the topic."""
    return _row(next(read_source(source)), " ".join(best_sentences(source, topic, 2)))


def _row(said: Statement, text: str) -> str:
    """``Your journal entry “Stairs again”, 4 May 2026: “…” [1]``."""
    row = "What we talked about" if said.kind == "conversation" else f"Your {said.kind.replace('_', ' ') or 'note'}"
    row += f" “{quotable(said.subject)}”" if said.subject else ""
    row += f", {said.day}" if said.day else ""
    told = _plain(text) if is_state(text) else f"“{quotable(text)}”"
    return (f"{row}: {told}" if text else row) + _cite(said)


def word_item(said: Statement, *, names_kind: bool) -> str:
    """The same as one line of a list, under a heading that may name its kind."""
    if not said.line:
        return word_statement(said).removesuffix(".")
    if names_kind or not said.subject:
        return quotable(said.line if names_kind else said.text) + _cite(said)
    if said.kind in _LIVE:
        return f"{quotable(f'{said.subject} ({said.text})')}{_cite(said)}"
    named = f"{said.kind} " if said.text[:1].isdigit() else ""  # "Health: alignment 0.62"
    return f"{quotable(f'{said.subject}: {named}{said.text}')}{_cite(said)}"


def _plain(state: str) -> str:
    """``In Progress, high priority, deadline …`` within a sentence."""
    status, comma, rest = quotable(state).rstrip(".").partition(",")
    return (status if "on " in status else status.lower()).replace("Done", "done") + comma + rest


def _cite(said: Statement) -> str:
    return "" if said.n is None else f" [{said.n}]"


def close(found: Sequence[Statement], question: str, back: str = "") -> list[str]:
    """One next step and one question back: about the first open thing, else about what was read."""
    subjects = [said for said in found if said.kind in _STEPS and said.subject]
    open_one = next((said for said in subjects if not said.is_over), None)
    read = next((said for said in found if said.n is not None), None)
    if open_one:
        step = _STEPS[open_one.kind].format(quotable(open_one.subject)) + _cite(open_one)
    else:
        step = _READ_AGAIN + _cite(read) if read else _CHOOSE
    of_them = _QUESTIONS if open_one else _QUESTIONS_BACK
    chosen = of_them[crc32(question.encode("utf-8", "replace")) % len(of_them)]
    about = f"“{quotable(open_one.subject)}”" if open_one else ""
    return [f"One next step: {step}.", back or chosen.format(it=about)]
