"""An entity kind: how a row of life becomes what the coach reads, and what it is called.

A kind is added by a migration (its table, its row of ``coach.entity_kinds``, ``coach.watch``) and a module like those
beside this one. Nothing in a snippet depends on the day it is read: "due 20 November 2026" stays true, "overdue" does
not. Where a row changes, its ``content_hash`` does, and only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from coach.kinds.consents import covering
from coach.kinds.text import chunked

T = TypeVar("T")

LONG = 4_000
"""Characters of a snippet that is one vector. A description of 100 kB would leave no room for any other source."""


class Snippet(Struct, frozen=True):
    """One piece of text. ``title`` is what a source is called, ``text`` what is read; see ``text.searched``."""

    kind: str
    entity_id: UUID
    chunk: int
    title: str
    text: str

    @property
    def content_hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()


def pieces(snippet: Snippet) -> list[Snippet]:
    """A snippet that is no longer than ``LONG``; else in pieces that each name what they are of."""
    if len(snippet.text) <= LONG:
        return [snippet]
    return [
        replace(snippet, chunk=snippet.chunk + number, text=f"{snippet.title}. {text}" if number else text)
        for number, text in enumerate(chunked(snippet.text))
    ]


class UserContext(Struct, frozen=True):
    """For whom a row is read: on which clock they live, and the names of the consents that they give."""

    timezone: ZoneInfo
    consents: frozenset[str]

    def day_of(self, moment: datetime) -> date:
        """The user's own day."""
        return moment.astimezone(self.timezone).date()


class Record(Struct, frozen=True):
    """One row as ``coach.read_entities`` gives it: its columns by name, and its parents' names by their kinds."""

    id: UUID
    updated_at: datetime
    columns: dict[str, Any]

    def convert(self, row: type[T], **other: Any) -> T:
        """The columns as ``row``, which may have fewer fields; ``other`` values stand over them."""
        return msgspec.convert({**self.columns, "id": self.id, **other}, row, strict=False)

    def moment(self, column: str) -> datetime | None:
        """A point in time, or None."""
        value = self.columns.get(column)
        return None if value is None else msgspec.convert(value, datetime)


class EntityKind(Struct, frozen=True):
    """``queue_name`` is what its rows are called in the queue, by default its table's name.

    ``consents`` are needed beside those that are declared to cover it. ``label`` is what a page calls it, ``icon`` the
    path of a 24-pixel SVG.
    """

    kind: str
    queue_name: str
    label: str
    icon: str
    snippets: Callable[[Record, UserContext], Iterable[Snippet]]
    consents: tuple[str, ...] = ()
    chunk_sign: int = 0
    """Where two tables' rows of one kind share entity ids: whose chunks are numbered upwards (1) and downwards (-1)."""

    def owns_chunk(self, chunk: int) -> bool:
        return not self.chunk_sign or chunk * self.chunk_sign > 0

    def is_allowed(self, consents: frozenset[str]) -> bool:
        """Whether a user who gives these consents has such rows embedded."""
        return consents >= covering(self.queue_name).union(self.consents)
