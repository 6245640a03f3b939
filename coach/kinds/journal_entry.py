"""Journal entries; a long one is several snippets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from uuid import UUID

from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import chunked, day_in_words, joined

TAGS = 500
"""Characters of an entry's tags that each of its pieces repeats; they may be 50,000."""


class JournalRow(Struct, frozen=True):
    id: UUID
    title: str
    content: str
    mood: str | None
    energy_level: str | None
    tags: tuple[str, ...]
    written_on: date


def of_journal(row: JournalRow) -> list[Snippet]:
    """One snippet, or several of whole sentences where the entry is long; none of an empty one."""
    title = row.title.strip() or "Journal entry"
    felt = [text for text in (row.mood, row.energy_level and f"{row.energy_level} energy") if text]
    head = f"Journal, {day_in_words(row.written_on)}: {title}" + (f" ({', '.join(felt)})." if felt else ".")
    about = f"About {', '.join(row.tags)[:TAGS]}." if row.tags else ""
    if not row.title.strip() and not row.content.strip():
        return []
    return [
        Snippet("journal_entry", row.id, number, title, joined(head, about, chunk))
        for number, chunk in enumerate(chunked(row.content) or [""])
    ]


def _read(record: Record, user: UserContext) -> Iterator[Snippet]:
    columns = record.columns
    yield from of_journal(
        record.convert(
            JournalRow,
            title=columns["title"] or "",
            content=columns["content"] or "",
            tags=columns["tags"] or (),
            written_on=user.day_of(record.moment("created_at") or record.updated_at),
        )
    )


KIND = EntityKind(
    kind="journal_entry",
    queue_name="journal_entries",
    label="Journal",
    icon="M6 3h11a1 1 0 0 1 1 1v17H7a2 2 0 0 1-2-2V4a1 1 0 0 1 1-1zM9 8h6M9 12h6",
    snippets=_read,
    consents=("store_behavioral_embeddings",),
)
