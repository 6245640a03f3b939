"""Projects, with their deadline in the user's own days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from uuid import UUID

from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import day_in_words, farther_up, joined


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


def of_project(row: ProjectRow) -> Snippet:
    deadline = f", deadline {day_in_words(row.deadline)}" if row.deadline else ""
    state = f"{row.status}, {row.priority} priority, {row.completion_percentage:g} percent done{deadline}."
    place = f"Project in {row.area}." if row.area else "Project."
    text = joined(f"{row.name}.", row.description, place, state)
    return Snippet("project", row.id, 0, row.name, text + farther_up(row.pillar))


def _read(record: Record, user: UserContext) -> Iterator[Snippet]:
    ends_at = record.moment("deadline")
    deadline = None if ends_at is None else user.day_of(ends_at)
    yield of_project(record.convert(ProjectRow, deadline=deadline))


KIND = EntityKind(
    kind="project",
    queue_name="projects",
    label="Project",
    icon="M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z",
    snippets=_read,
)
