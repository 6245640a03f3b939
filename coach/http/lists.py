"""Lists in pages: ``?limit=&cursor=`` in, ``items`` and ``next_cursor`` out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from coach.errors import InvalidInput
from coach.kinds.registry import kind_names

T = TypeVar("T")
Row = TypeVar("Row")

Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, QueryParameter(description="`next_cursor` of the page before.")]
SourceKind = Annotated[str | None, QueryParameter(description="Only sources of this kind.", enum=kind_names())]
DEFAULT_LIMIT = 50
_NEWEST = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


def cursor_of(position: object) -> str:
    """Where a page ended, as text that means nothing to a client."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def position_of(cursor: str, kind: type[T]) -> T:
    """What ``cursor_of`` was given.

    :raises InvalidInput: it is no cursor of this list.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidInput("cursor", "must be the next_cursor of a page of this list.") from None


def newest_first(limit: int, cursor: str | None) -> dict[str, Any]:
    """The parameters of a query that goes back in time: where the last page ended, and one row more than is shown.

    Without a cursor it begins behind whatever there is.

    :raises InvalidInput: it is no cursor of this list.
    """
    before, before_id = position_of(cursor, tuple[datetime, UUID]) if cursor else _NEWEST
    return {"before": before, "before_id": before_id, "limit": limit + 1}


def page(rows: list[Row], limit: int, position: Callable[[Row], object]) -> tuple[list[Row], str | None]:
    """``items`` and ``next_cursor``, from ``limit + 1`` rows, or fewer at the end of the list."""
    shown = rows[:limit]
    return shown, cursor_of(position(shown[-1])) if len(rows) > limit else None
