"""What a prompt says, in single statements: its live facts, and the sentences of its sources with their days."""

from __future__ import annotations

import re
from calendar import month_name
from collections.abc import Iterator
from datetime import date

from msgspec import Struct

from coach.models.offline_reading import Excerpt, Reading
from coach.models.offline_words import sentences_of, words

MONTHS = month_name[1:]
DAY = re.compile(rf"\b(?:(\d{{4}})-(\d\d)-(\d\d)|(\d{{1,2}}) ({'|'.join(MONTHS)}) (\d{{4}}))\b")
_LIVE = re.compile(r"(overdue|today|deadline|alignment|flow|changed)\b([^:]*):\s*(.+)", re.IGNORECASE | re.DOTALL)
_CHANGED = re.compile(r" just now, \w+ ")
"""Behind it, as ``coach/retrieval/state.py`` writes it, stands the title of the row."""

_STATE = re.compile(r"(Open|In [Pp]rogress|In [Rr]eview|On Hold|Not Started|Completed|Done|Cancelled)\b(?:,| on \d|\.)")
_OVER = re.compile(r"\bDone(?: on\b|[,.])|\b[Cc]ompleted\b|\b[Cc]ancelled\b|\b[Aa]rchived\b")
_UNTOLD = re.compile(r", (?:\d+ minutes|(?:low|medium|high) energy|\w+ cognitive load)(?=[,)])")
_HAPPENED = frozenset(("journal_entry", "conversation"))
"""Kinds of which a row tells of its own day."""


class Statement(Struct, frozen=True):
    """``text`` as it stands in the prompt; ``own`` and ``around`` are the stems of it and of the rest of its row.

    ``kind`` is a source's kind, or the first word of a live fact. ``days`` are those that it names; ``day`` is the one
    of its row, of an entry the day it was written. ``n`` is its citation, ``line`` a live fact whole.
    """

    kind: str
    subject: str
    text: str
    own: frozenset[str]
    around: frozenset[str]
    days: tuple[date, ...] = ()
    day: str = ""
    n: int | None = None
    is_state: bool = False
    is_over: bool = False
    line: str = ""

    @property
    def stems(self) -> frozenset[str]:
        return self.own | self.around

    @property
    def happened(self) -> date | None:
        """The day of what has happened: of an entry its own, of a finished task the last one that it names."""
        if self.kind in _HAPPENED:
            return next(days_in(self.day), None)
        return self.days[-1] if self.is_over and self.is_state and self.days else None


def days_in(text: str) -> Iterator[date]:
    """The days that a text names, in either way of writing them; what is no day of the calendar is none."""
    for year, month, day, day_first, name, year_last in DAY.findall(text):
        try:
            yield date(int(year or year_last), int(month or MONTHS.index(name) + 1), int(day or day_first))
        except ValueError:
            continue


def read_statements(reading: Reading) -> list[Statement]:
    """The live facts, then the sources, each in the order of the prompt."""
    cited = {source.title: source for source in reversed(reading.sources) if source.title}
    live = [_live_fact(line, cited) for line in reading.state]
    return [*live, *(statement for source in reading.sources for statement in read_source(source))]


def _live_fact(line: str, cited: dict[str, Excerpt]) -> Statement:
    found = _LIVE.fullmatch(line)
    kind, place, text = (found[1].lower(), found[2], found[3]) if found else ("", "", line)
    is_task = kind in ("overdue", "today", "deadline")
    subject, details = _parted(place, text) if is_task else ("", text)
    if found and not is_task:
        named = _CHANGED.match(place)
        subject = place[named.end() :] if named else place.rpartition(", ")[2]
    source = cited.get(subject)
    return Statement(
        kind,
        subject,
        details,
        own=frozenset(words(subject or details)),
        around=frozenset(words(f"{details} {source.text if source else ''}")),
        days=tuple(days_in(details)),
        n=source.n if source else None,
        line=_UNTOLD.sub("", line) if kind in ("overdue", "today") else line,
    )


def _parted(place: str, text: str) -> tuple[str, str]:
    """What a task is called, and its details: ``Book the MRI (due 2026-11-20, …)`` has them in parentheses."""
    if "besides" in place:
        return "", text
    title, opened, details = text.rpartition(" (")
    return (title, _UNTOLD.sub("", details)[:-1]) if opened and text.endswith(")") else (text, "")


def read_source(source: Excerpt) -> Iterator[Statement]:
    """Its sentences but the heading; one empty statement where there is no more."""
    named = frozenset(words(source.title))
    told = {s: frozenset(() if is_state(s) else words(s)) for s in sentences_of(source)}  # "Open" is no word about it
    written = DAY.search(source.text[:60]) if source.kind == "journal_entry" else None
    happened = source.date if source.kind in _HAPPENED else ""
    for sentence, stems in (told or {"": named}).items():
        yield Statement(
            source.kind,
            source.title,
            sentence,
            own=named | stems,
            around=named.union(*told.values()),
            days=tuple(days_in(sentence)),
            day=written[0] if written else happened,
            n=source.n,
            is_state=is_state(sentence),
            is_over=source.kind in ("task", "project") and _OVER.search(source.text) is not None,
        )


def is_state(sentence: str) -> bool:
    """How a task or project stands: ``Open, high priority, due …``."""
    return _STATE.match(sentence) is not None
