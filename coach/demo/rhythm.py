"""How the year felt: a metric point a day for each area and pillar."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time, timedelta

from coach.demo.assemble import Setting
from coach.demo.calendar import Calendar
from coach.demo.life import Area, JournalEntry, MetricPoint
from coach.demo.story import AreaRhythm, Rhythm

RECORDED_AT = time(21, 30)
FEELING_FADES_DAYS = 10
ENERGY = {"low": -0.2, "medium": 0.0, "high": 0.2}
HABIT_DAYS = 21


def days(calendar: Calendar, count: int) -> list[date]:
    """The ``count`` days up to yesterday."""
    return [calendar.today - timedelta(days=back) for back in range(count, 0, -1)]


def area_points(
    rhythm: Rhythm,
    entries: Sequence[JournalEntry],
    on: Sequence[date],
    life: Setting,
) -> dict[str, tuple[MetricPoint, ...]]:
    """By the area's key: the curves of the story with a day's scatter, and the feelings of the journal."""
    felt = _feelings(rhythm, entries, life.calendar)
    return {key: tuple(_points(curve, felt.get(key, []), on, life)) for key, curve in rhythm.areas.items()}


def pillar_points(areas: Sequence[Area]) -> tuple[MetricPoint, ...]:
    """A pillar's days are those of its areas: the mean by importance, the minutes together."""
    weights = [area.importance for area in areas]
    return tuple(_blend(points, weights) for points in zip(*(area.behavior_metrics for area in areas), strict=True))


def _blend(points: Sequence[MetricPoint], weights: Sequence[int]) -> MetricPoint:
    def mean(values: list[float]) -> float:
        return round(sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights), 2)

    return MetricPoint(
        timestamp=points[0].timestamp,
        alignment_score=mean([point.alignment_score for point in points]),
        sentiment=mean([point.sentiment for point in points]),
        habit_strength=mean([point.habit_strength for point in points]),
        energy_level=mean([point.energy_level for point in points]),
        focus_time_minutes=sum(point.focus_time_minutes for point in points),
    )


Feeling = tuple[date, float, float]
"""A day, how it felt from -1 to 1, and the energy it had above or below the usual."""


def _feelings(rhythm: Rhythm, entries: Sequence[JournalEntry], calendar: Calendar) -> Mapping[str, list[Feeling]]:
    felt: dict[str, list[Feeling]] = {}
    for entry in entries:
        area = next((rhythm.tags[tag] for tag in entry.tags if tag in rhythm.tags), None)
        if area is not None:
            day = entry.created_at.astimezone(calendar.zone).date()
            felt.setdefault(area, []).append((day, rhythm.moods.get(entry.mood, 0.0), ENERGY[entry.energy_level]))
    return felt


def _points(curve: AreaRhythm, felt: Sequence[Feeling], on: Sequence[date], life: Setting) -> Iterator[MetricPoint]:
    recent: list[float] = []
    for day in on:
        week = (day - life.calendar.today).days / 7
        alignment = _within(interpolated(curve.alignment, week) + life.chance.gauss(0, 0.05), 0, 1)
        usual = interpolated(curve.minutes, week) * (curve.weekend if day.weekday() >= 5 else 1)
        minutes = max(0, round(usual * life.chance.uniform(0.4, 1.6)))
        recent = [*recent[1 - HABIT_DAYS :], float(minutes > 0) * alignment]
        mood, energy = _lingering(felt, day)
        yield MetricPoint(
            timestamp=life.calendar.at(day, RECORDED_AT),
            alignment_score=alignment,
            sentiment=_within(0.15 + mood * 0.8 + life.chance.gauss(0, 0.06), -1, 1),
            habit_strength=_within(sum(recent) / len(recent), 0, 1),
            energy_level=_within(0.55 + energy + mood * 0.15 + life.chance.gauss(0, 0.05), 0, 1),
            focus_time_minutes=minutes,
        )


def _lingering(felt: Sequence[Feeling], day: date) -> tuple[float, float]:
    """The last feeling before ``day``, fading."""
    known = bisect_right(felt, day, key=lambda feeling: feeling[0])
    if known == 0:
        return 0.0, 0.0
    then, mood, energy = felt[known - 1]
    left = max(0.0, 1 - (day - then).days / FEELING_FADES_DAYS)
    return mood * left, energy * left


def interpolated(points: Sequence[tuple[float, float]], week: float) -> float:
    """The curve's value at ``week``: straight between its points, level before the first and after the last."""
    after = bisect_right(points, week, key=lambda point: point[0])
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (week - x0) / (x1 - x0)


def _within(value: float, lowest: float, highest: float) -> float:
    return round(min(highest, max(lowest, value)), 2)
