"""Pillars: what a life stands on."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import joined


class PillarRow(Struct, frozen=True):
    id: UUID
    name: str
    description: str | None
    time_allocation_percentage: float | None


def of_pillar(row: PillarRow) -> Snippet:
    share = row.time_allocation_percentage
    meant = f"It is meant to get {share:g} percent of the time." if share is not None else ""
    return Snippet("pillar", row.id, 0, row.name, joined(f"Pillar: {row.name}.", row.description, meant))


def _read(record: Record, _user: UserContext) -> Iterator[Snippet]:
    yield of_pillar(record.convert(PillarRow))


KIND = EntityKind(
    kind="pillar",
    queue_name="pillars",
    label="Pillar",
    icon="M4 20h16M6 20V9M12 20V9M18 20V9M3 9l9-5 9 5z",
    snippets=_read,
)
