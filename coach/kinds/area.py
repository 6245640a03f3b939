"""Areas of life, within a pillar or beside them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import joined


class AreaRow(Struct, frozen=True):
    """``pillar`` is the pillar's name; parents may be missing."""

    id: UUID
    name: str
    description: str | None
    importance: int
    pillar: str | None = None


def of_area(row: AreaRow) -> Snippet:
    place = f"Area of the pillar {row.pillar}" if row.pillar else "Area of life"
    return Snippet(
        "area",
        row.id,
        0,
        row.name,
        joined(f"{row.name}.", row.description, f"{place}, importance {row.importance} of 5."),
    )


def _read(record: Record, _user: UserContext) -> Iterator[Snippet]:
    yield of_area(record.convert(AreaRow))


KIND = EntityKind(
    kind="area",
    queue_name="areas",
    label="Area",
    icon="M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
    snippets=_read,
)
