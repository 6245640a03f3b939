"""One user's year, made from the story: the same for the same seed and day."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from msgspec import structs

from coach.demo import assemble
from coach.demo.calendar import Calendar
from coach.demo.flow import flow_events
from coach.demo.life import Area, DemoUser, Life, Pillar
from coach.demo.rhythm import area_points, days, pillar_points
from coach.demo.story import casts, read_story

DEMO_SEED = 0
HISTORY_DAYS = 364
"""Retention keeps 365 days; a point on the edge would go in the night after."""

_LIVES = UUID("0d7b62b5-5f2e-5a55-9d0c-8a4f3e2b7c11")


def generate(seed: int, today: date, timezone: str = "Europe/Berlin", *, history_days: int = HISTORY_DAYS) -> Life:
    """The life of user ``seed`` on the morning of ``today``.

    Seeds share the story and differ in names, in the times of day, and in what their days measured. ``history_days``
    shortens the metrics and flow events alone. Ids depend on the seed only, so that a user stays the same user.
    """
    story, calendar = read_story(seed % len(casts())), Calendar(today, ZoneInfo(timezone))
    chance = random.Random(f"{seed} {today}")  # noqa: S311 - nothing secret
    life = assemble.Setting(calendar, uuid5(_LIVES, str(seed)), chance)
    journal = assemble.journal(story, life)
    on = days(calendar, history_days)
    points = area_points(story.rhythm, journal, on, life)
    areas = [structs.replace(area, behavior_metrics=points[area.key]) for area in assemble.areas(story, life)]
    tasks = tuple(assemble.tasks(story, life))
    conversations = tuple(assemble.conversations(story, life))
    events = tuple(flow_events(story.rhythm, points, on, life))
    told = story.tree.person
    active = [entry.created_at for entry in journal] + [event.timestamp for event in events]
    active += [talk.created_at for talk in conversations] + [task.completed_at for task in tasks if task.completed_at]
    return Life(
        person=DemoUser(told.first_name, told.last_name, told.monthly_alignment_goal, timezone),
        today=today,
        daily_streak=streak(active, calendar),
        pillars=tuple(_measured(pillar, areas) for pillar in assemble.pillars(story, life)),
        areas=tuple(areas),
        projects=tuple(assemble.projects(story, life)),
        tasks=tasks,
        journal_entries=tuple(journal),
        flow_events=events,
        conversations=conversations,
    )


def _measured(pillar: Pillar, areas: Iterable[Area]) -> Pillar:
    return structs.replace(pillar, behavior_metrics=pillar_points([a for a in areas if a.pillar_id == pillar.id]))


def streak(active: Iterable[datetime], calendar: Calendar) -> int:
    """Consecutive local days with any activity, up to yesterday."""
    on = {moment.astimezone(calendar.zone).date() for moment in active}
    length = 0
    while calendar.today - timedelta(days=length + 1) in on:
        length += 1
    return length
