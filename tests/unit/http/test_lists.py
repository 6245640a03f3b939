"""Lists in pages: each row is shown once, and the last page says that it is the last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coach.errors import InvalidInput
from coach.http.lists import newest_first, page

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = [(NOON - timedelta(minutes=n // 2), UUID(int=1_000 - n)) for n in range(9)]
"""Newest first; two have each time."""


def rows_before(before, before_id, limit):
    """What a query of such a list gives."""
    return [row for row in ROWS if before is None or row < (before, before_id)][:limit]


@given(limit=st.integers(1, len(ROWS) + 1))
def test_a_list_read_by_its_cursors_holds_each_row_once_in_order(limit):
    read, cursor = [], None
    while True:
        items, cursor = page(rows_before(**newest_first(limit, cursor)), limit, lambda row: row)
        read += items
        assert 1 <= len(items) <= limit
        if cursor is None:
            break
    assert read == ROWS


def test_an_empty_list_is_one_page():
    assert page([], 1, lambda row: row) == ([], None)


def test_a_cursor_of_another_list_is_refused():
    _, cursor = page([1, 2], 1, lambda row: row)

    with pytest.raises(InvalidInput, match="cursor"):
        newest_first(1, cursor)
