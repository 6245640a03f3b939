"""What the coach reads of a row: the few sentences that a person would write about it.

Pure functions of a row's columns and its parents' names. Nothing in a snippet depends on the day it is read: "due 20
November 2026" stays true, "overdue" does not. Where a row changes, its ``content_hash`` does, and only then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, time
from hashlib import sha256
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.retrieval.base import DomainTag

CHUNK_CHARACTERS = 900
"""About 200 tokens: an ordinary journal entry stays whole, and a long one does not blur into a mean of everything."""

# The last line of a snippet, which is read but not searched.
_FARTHER_UP = re.compile(r"\n↑ [^\n]*\Z")
# A title is no end of a sentence, or a chunk would end with "Dr.".
_SENTENCE = re.compile(
    r"(?<!\bDr\.)(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<=[.!?…])([\"'”’)\]]*)\s+(?=[\"'“‘(\[]?[^\Wa-z_])|\n\s*\n"
)


class Snippet(Struct, frozen=True):
    """One piece of text. ``title`` is what a source is called, ``text`` what is read; see ``searched``."""

    domain_tag: DomainTag
    entity_id: UUID
    chunk: int
    title: str
    text: str

    @property
    def content_hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()


class PillarRow(Struct, frozen=True):
    id: UUID
    name: str
    description: str | None
    time_allocation_percentage: float | None


class AreaRow(Struct, frozen=True):
    """``pillar`` is the pillar's name; parents may be missing."""

    id: UUID
    name: str
    description: str | None
    importance: int
    pillar: str | None = None


class ProjectRow(Struct, frozen=True):
    id: UUID
    name: str
    description: str | None
    status: str
    priority: str
    deadline: date | None
    completion_percentage: float
    area: str | None = None
    pillar: str | None = None


class TaskContext(Struct, frozen=True):
    """``task_metadata`` as far as it is read; read only with the consent ``store_task_context``."""

    energy_requirement: str | None = None
    cognitive_load: str | None = None
    context_tags: tuple[str, ...] = ()


class TaskRow(Struct, frozen=True):
    """``completed_on`` and ``due_date`` are days in the user's own zone."""

    id: UUID
    name: str
    description: str | None
    status: str
    priority: str
    due_date: date | None
    due_time: time | None = None
    completed_on: date | None = None
    recurrence: str = "none"
    estimated_duration: int | None = None
    context: TaskContext | None = None
    project: str | None = None
    area: str | None = None
    pillar: str | None = None


class JournalRow(Struct, frozen=True):
    id: UUID
    title: str
    content: str
    mood: str | None
    energy_level: str | None
    tags: Sequence[str]
    written_on: date


def searched(text: str) -> str:
    """What of a snippet is embedded and searched for words; ``coach.snippet_document`` does the same in SQL.

    That is all but what lies farther up than the next parent. In the demo's life 46 rows mention the knee only because
    they lie below "Running and the knee", and stood before the entry that says what is wrong with it (decision 0004).
    """
    return _FARTHER_UP.sub("", text)


def task_context(metadata: object) -> TaskContext | None:
    """What can be read of a ``task_metadata`` column; none where its shape is another, since anybody may write it."""
    try:
        return msgspec.convert(metadata, TaskContext)
    except msgspec.ValidationError:
        return None


def of_pillar(row: PillarRow) -> Snippet:
    share = row.time_allocation_percentage
    meant = f"It is meant to get {share:g} percent of the time." if share is not None else ""
    return Snippet("pillar", row.id, 0, row.name, _joined(f"Pillar: {row.name}.", row.description, meant))


def of_area(row: AreaRow) -> Snippet:
    place = f"Area of the pillar {row.pillar}" if row.pillar else "Area of life"
    return Snippet(
        "area",
        row.id,
        0,
        row.name,
        _joined(f"{row.name}.", row.description, f"{place}, importance {row.importance} of 5."),
    )


def of_project(row: ProjectRow) -> Snippet:
    deadline = f", deadline {day_in_words(row.deadline)}" if row.deadline else ""
    state = f"{row.status}, {row.priority} priority, {row.completion_percentage:g} percent done{deadline}."
    place = f"Project in {row.area}." if row.area else "Project."
    text = _joined(f"{row.name}.", row.description, place, state)
    return Snippet("project", row.id, 0, row.name, text + _farther_up(row.pillar))


def of_task(row: TaskRow) -> Snippet:
    """Its context metadata is in it where the row carries them: the caller reads the consent ``store_task_context``."""
    place = f"Task of the project {row.project}." if row.project else "Task."
    text = _joined(f"{row.name}.", row.description, place, _task_state(row), _effort(row))
    return Snippet("task", row.id, 0, row.name, text + _farther_up(row.area, row.pillar))


def of_journal(row: JournalRow) -> list[Snippet]:
    """One snippet, or several of whole sentences where the entry is long; none of an empty one."""
    title = row.title.strip() or "Journal entry"
    felt = [text for text in (row.mood, row.energy_level and f"{row.energy_level} energy") if text]
    head = f"Journal, {day_in_words(row.written_on)}: {title}" + (f" ({', '.join(felt)})." if felt else ".")
    about = f"About {', '.join(row.tags)}." if row.tags else ""
    if not row.title.strip() and not row.content.strip():
        return []
    return [
        Snippet("journal_entry", row.id, number, title, _joined(head, about, chunk))
        for number, chunk in enumerate(chunked(row.content) or [""])
    ]


def chunked(text: str, characters: int = CHUNK_CHARACTERS) -> list[str]:
    """``text`` in pieces of at most ``characters``, cut between sentences, or between words of a longer one."""
    pieces: list[str] = []
    for part in _parts(text.strip(), characters):
        if pieces and len(pieces[-1]) + 1 + len(part) <= characters:
            pieces[-1] = f"{pieces[-1]} {part}"
        else:
            pieces.append(part)
    return pieces


def _parts(text: str, characters: int) -> Iterator[str]:
    for sentence in _sentences(text):
        rest = sentence.strip()
        while len(rest) > characters:
            cut = rest.rfind(" ", 1, characters + 1)
            cut = characters if cut < 0 else cut
            yield rest[:cut].strip()
            rest = rest[cut:].strip()
        if rest:
            yield rest


def _sentences(text: str) -> Iterator[str]:
    """A closing quote or bracket belongs to the sentence that it closes."""
    start = 0
    for end in _SENTENCE.finditer(text):
        yield text[start : end.start() if end[1] is None else end.end(1)]
        start = end.end()
    yield text[start:]


def _task_state(row: TaskRow) -> str:
    due = f"due {day_in_words(row.due_date)}" if row.due_date else ""
    if due and row.due_time:
        due += f" at {row.due_time:%H:%M}"
    if row.completed_on:
        return f"Done on {day_in_words(row.completed_on)}."
    state = {"in_progress": "In progress", "review": "In review", "completed": "Done"}.get(row.status, "Open")
    repeats = f"repeats {row.recurrence}" if row.recurrence != "none" else ""
    return ", ".join(part for part in (state, f"{row.priority} priority", due, repeats) if part) + "."


def _effort(row: TaskRow) -> str:
    takes = f"about {row.estimated_duration} minutes" if row.estimated_duration else ""
    parts: Sequence[str | None] = (takes,)
    if row.context:
        energy, load = row.context.energy_requirement, row.context.cognitive_load
        parts = (
            takes,
            energy and f"{energy} energy",
            load and f"{load} thinking",
            ", ".join(row.context.context_tags).replace("_", " "),
        )
    said = "; ".join(part for part in parts if part)
    return f"Needs {said}." if said else ""


def _farther_up(*names: str | None) -> str:
    above = ", ".join(" ".join(name.split()) for name in names if name)
    return f"\n↑ Part of {above}." if above else ""


def _joined(*sentences: str | None) -> str:
    return " ".join(stripped for sentence in sentences if sentence and (stripped := sentence.strip()))


def day_in_words(day: date) -> str:
    """As a person writes it: 4 May 2026."""
    return f"{day.day} {day:%B %Y}"
