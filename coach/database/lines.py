"""What a migration says of the tables and rows that were there before."""

from __future__ import annotations

from typing import Self


class Line(str):
    """``kind`` is reported, converted, refused (with the remedy: the run comes to nothing) or warning (the run stays,
    and something is left to do). ``sql/functions/reporting.sql`` says them."""

    kind: str

    def __new__(cls, text: str, kind: str | None = None) -> Self:
        line = super().__new__(cls, text)
        line.kind = kind or "reported"
        return line
