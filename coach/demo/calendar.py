"""The story's dates: relative to today, in weeks with a weekday, so that no interview falls on a Sunday."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from coach.errors import InvalidInput
from coach.kinds.text import day_in_words

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHEN = re.compile(
    rf"(?:(?P<days>-?\d+)d|(?P<week>-?\d+) (?P<weekday>{'|'.join(WEEKDAYS)}))(?: (?P<hour>\d\d):(?P<minute>\d\d))?"
)
_MENTION = re.compile(r"\{date:([^}]+)\}")


class Calendar(Struct, frozen=True):
    """Reads ``-37 sun 18:20`` (the Sunday 37 weeks before this week) and ``-3d`` (three days ago)."""

    today: date
    zone: ZoneInfo

    def day(self, when: str) -> date:
        return self._read(when)[0]

    def moment(self, when: str, default: time = time(12)) -> datetime:
        """The story's local time, in UTC."""
        day, at = self._read(when)
        return self.at(day, at or default)

    def at(self, day: date, clock: time) -> datetime:
        return datetime.combine(day, clock, self.zone).astimezone(UTC)

    def tell(self, text: str) -> str:
        """``text`` with its ``{date:2 thu}`` written out."""
        return _MENTION.sub(lambda found: day_in_words(self.day(found[1])), text)

    def _read(self, when: str) -> tuple[date, time | None]:
        """:raises InvalidInput: no such notation."""
        found = _WHEN.fullmatch(when)
        if found is None:
            raise InvalidInput("story", f"{when!r} is no date; write -37 sun 18:20, or -3d.")
        clock = time(int(found["hour"]), int(found["minute"])) if found["hour"] else None
        if found["days"] is not None:
            return self.today + timedelta(days=int(found["days"])), clock
        monday = self.today - timedelta(days=self.today.weekday())
        return monday + timedelta(weeks=int(found["week"]), days=WEEKDAYS.index(found["weekday"])), clock
