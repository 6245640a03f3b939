"""Corrections and deletions of memories. They override what a row says now."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from coach.database.pool import Transaction
from coach.database.queries import load
from coach.kinds.base import Snippet
from coach.pipeline.queue import QueueRow

_sql = load("memory")

Corrections = dict[tuple[UUID, str, UUID], str | None]
"""By user, domain and entity: another wording, or None where it was deleted."""


class _Correction(Struct, frozen=True):
    """One row of the query ``corrections``."""

    user_id: UUID
    domain: str
    id: UUID
    content: str | None


async def corrections(tx: Transaction, rows: Sequence[tuple[QueueRow, str]]) -> Corrections:
    """Those of the claimed rows, each with its domain."""
    if not rows:
        return {}
    found = await _sql.corrections.rows(
        tx,
        _Correction,
        users=[row.user_id for row, _ in rows],
        domains=[domain for _, domain in rows],
        ids=[row.id for row, _ in rows],
    )
    return {(each.user_id, each.domain, each.id): each.content for each in found}


def corrected(snippets: list[Snippet], content: str | None) -> list[Snippet]:
    """One snippet with that wording in the place of the first, or none where it was deleted."""
    if content is None or not snippets:
        return []
    first = min(snippets, key=lambda snippet: snippet.chunk)
    return [msgspec.structs.replace(first, text=content)]
