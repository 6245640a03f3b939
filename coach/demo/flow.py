"""The flow of the year's days: when work went deep, what broke into it, what pulled away."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time, timedelta

from msgspec import UNSET, UnsetType

from coach.demo.assemble import Setting
from coach.demo.life import EventData, FlowEvent, FlowKind, MetricPoint
from coach.demo.story import Rhythm

AREAS = ("brightwater", "career-move", "craft", "spanish", "photography")
SHORTEST, LONGEST = 20, 120
"""Minutes of a day in one area that make a session."""


def flow_events(
    rhythm: Rhythm, points: Mapping[str, Sequence[MetricPoint]], on: Sequence[date], life: Setting
) -> Iterator[FlowEvent]:
    """A session for each area that had its minutes on a day, one after the other from the morning on."""
    for position, day in enumerate(on):
        clock = life.calendar.at(day, time(8, life.chance.randint(20, 59)))
        for area in AREAS:
            minutes = min(points[area][position].focus_time_minutes, LONGEST)
            if minutes < SHORTEST:
                continue
            session = f"{day.isoformat()}-{area}"
            for number, (kind, minute, reason) in enumerate(_session(rhythm, minutes, life.chance)):
                yield FlowEvent(
                    id=life.new_id(f"event:{session}:{number}"),
                    session_id=session,
                    action_type=kind,
                    feature_name="focus_timer",
                    event_data=EventData(area, reason),
                    duration_ms=minutes * 60_000 if kind == "flow_exit" else None,
                    timestamp=clock + timedelta(minutes=minute),
                )
            clock += timedelta(minutes=minutes + life.chance.randint(15, 90))


def _session(rhythm: Rhythm, minutes: int, chance: random.Random) -> Iterator[tuple[FlowKind, int, str | UnsetType]]:
    """What happens in it: the kind, the minute, the reason."""
    yield "flow_entry", 0, UNSET
    if chance.random() < 0.35:
        yield "context_switch", chance.randint(5, minutes - 1), chance.choice(rhythm.switches)
    if chance.random() < 0.2:
        yield "procrastination_trigger", chance.randint(5, minutes - 1), chance.choice(rhythm.triggers)
    yield "flow_exit", minutes, UNSET
