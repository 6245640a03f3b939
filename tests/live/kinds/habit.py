"""A made-up entity kind, as whoever adds one would write it: a module of coach/kinds."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import farther_up, joined


class HabitRow(Struct, frozen=True):
    id: UUID
    name: str
    cue: str | None
    area: str | None = None
    pillar: str | None = None


def _read(record: Record, _user: UserContext) -> Iterator[Snippet]:
    row = record.convert(HabitRow)
    place = f"Habit in {row.area}." if row.area else "Habit."
    yield Snippet("habit", row.id, 0, row.name, joined(f"{row.name}.", row.cue, place) + farther_up(row.pillar))


KIND = EntityKind(
    kind="habit",
    queue_name="habits",
    label="Habit",
    icon="M4 12a8 8 0 1 0 8-8M4 5v7h7",
    snippets=_read,
    consents=("track_pillar_metrics",),
)
