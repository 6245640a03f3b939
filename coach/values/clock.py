"""The default clock, and the time that rows may speak of."""

from __future__ import annotations

from datetime import UTC, date, datetime

FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2200, 12, 31)
"""The same as in sql/functions/bounds.sql."""


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)
