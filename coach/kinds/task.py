"""Tasks. What one asks of its doer is read only with the consent ``store_task_context``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, time
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import day_in_words, farther_up, joined


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


def task_context(metadata: object) -> TaskContext | None:
    """The readable part of a ``task_metadata`` column. None for another shape, since a browser may write anything
    there."""
    try:
        return msgspec.convert(metadata, TaskContext)
    except msgspec.ValidationError:
        return None


def of_task(row: TaskRow) -> Snippet:
    """Its context metadata is in it where the row carries them: the caller reads the consent ``store_task_context``."""
    place = f"Task of the project {row.project}." if row.project else "Task."
    text = joined(f"{row.name}.", row.description, place, _task_state(row), _effort(row))
    return Snippet("task", row.id, 0, row.name, text + farther_up(row.area, row.pillar))


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


def _read(record: Record, user: UserContext) -> Iterator[Snippet]:
    done_at = record.moment("completed_at")
    metadata = record.columns["task_metadata"] if "store_task_context" in user.consents else None
    yield of_task(
        record.convert(
            TaskRow,
            status="completed" if record.columns["completed"] else record.columns["status"],
            completed_on=None if done_at is None else user.day_of(done_at),
            context=task_context(metadata),
        )
    )


KIND = EntityKind(
    kind="task",
    queue_name="tasks",
    label="Task",
    icon="M4 6a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM8 12l3 3 5-6",
    snippets=_read,
)
