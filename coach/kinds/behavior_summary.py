"""What was measured of a pillar or an area, week by week: a few figures as a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from statistics import fmean
from typing import Literal

import msgspec
from msgspec import Struct

from coach.kinds.base import EntityKind, Record, Snippet, UserContext
from coach.kinds.text import day_in_words

_FIRST_MONDAY = date(1970, 1, 5)


class Point(Struct, frozen=True):
    """One point of ``behavior_metrics``; the database has checked it on its way in."""

    timestamp: datetime
    alignment_score: float | None = None
    sentiment: float | None = None
    habit_strength: float | None = None
    energy_level: float | None = None
    focus_time_minutes: float | None = None


def _read(measured: Literal["Pillar", "Area"], record: Record, user: UserContext) -> Iterator[Snippet]:
    """A snippet for each week with a point.

    Its chunk is the week's number since 1970, so that a new point changes one week and leaves the others as they are;
    of an area minus that number, since an area and a pillar may have the same id.
    """
    weeks: dict[date, list[Point]] = {}
    for point in _points(record.columns["behavior_metrics"]):
        day = user.day_of(point.timestamp)
        weeks.setdefault(day - timedelta(days=day.weekday()), []).append(point)
    sign = -1 if measured == "Area" else 1
    for monday, points in sorted(weeks.items()):
        yield Snippet(
            "behavior_summary",
            record.id,
            sign * ((monday - _FIRST_MONDAY).days // 7 + 1),
            title := f"{record.columns['name']}, week of {day_in_words(monday)}",
            f"{measured} {title}: {', '.join(_figures(points))}.",
        )


def _points(metrics: object) -> Iterator[Point]:
    """Those that can be read: an adopted database may hold others, and one of them must not hide the rest."""
    for raw in metrics if isinstance(metrics, list) else ():
        try:
            point = msgspec.convert(raw, Point, strict=False)
        except msgspec.ValidationError:
            continue
        moment = point.timestamp if point.timestamp.tzinfo else point.timestamp.replace(tzinfo=UTC)
        if 1970 < moment.year < 9998:
            yield msgspec.structs.replace(point, timestamp=moment)


def _figures(points: list[Point]) -> Iterator[str]:
    for name, values in (
        ("alignment", _given(point.alignment_score for point in points)),
        ("habit strength", _given(point.habit_strength for point in points)),
        ("mood", _given(point.sentiment for point in points)),
        ("energy", _given(point.energy_level for point in points)),
    ):
        if values:
            yield f"{name} {fmean(values):.2f} on average"
    focus = _given(point.focus_time_minutes for point in points)
    if focus:
        yield f"{sum(focus):g} minutes of focus"
    yield f"{len(points)} measurement{'s' if len(points) > 1 else ''}"


def _given(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _kind(queue_name: str, measured: Literal["Pillar", "Area"], chunk_sign: int) -> EntityKind:
    return EntityKind(
        kind="behavior_summary",
        queue_name=queue_name,
        label="Habits",
        icon="M4 19V5M4 19h16M8 15l4-5 3 3 5-7",
        snippets=partial(_read, measured),
        consents=("store_behavioral_embeddings", "track_pillar_metrics"),
        chunk_sign=chunk_sign,
    )


OF_PILLARS = _kind("pillar_metrics", "Pillar", 1)
OF_AREAS = _kind("area_metrics", "Area", -1)
