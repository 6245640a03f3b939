"""The block of live facts: what rows say right now, so that nobody has to guess it."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from coach.database.pool import Transaction
from coach.database.queries import load

_sql = load("state")

TASKS, DEADLINES, PILLARS, CHANGED = 5, 4, 6, 3
"""Lines of each kind: with its two totals and the flow, the block has at most 26."""
HORIZON = timedelta(days=14)
LINE = 300


class Person(Struct, frozen=True):
    """Whose facts, on which clock, what they consent to have read, and whether any of it changed lately."""

    user_id: UUID
    timezone: ZoneInfo
    record_rag_snippets: bool
    track_pillar_metrics: bool
    track_flow_states: bool
    store_task_context: bool
    has_changes: bool
    serving_model: str | None = None


class DueTask(Struct, frozen=True):
    """An open task of today or before. ``total`` counts all of its group, shown or not."""

    name: str
    due: date
    at: time | None
    priority: str
    project: str | None
    energy: str | None
    load: str | None
    minutes: int | None
    is_overdue: bool
    total: int

    def details(self) -> Iterator[str]:
        yield f"due {self.due} {self.at:%H:%M}" if self.at else f"due {self.due}"
        if self.project:
            yield f"project {self.project}"
        yield f"{self.priority} priority"
        if self.minutes:
            yield f"{self.minutes} minutes"
        if self.energy:
            yield f"{self.energy} energy"
        if self.load:
            yield f"{self.load} cognitive load"


class PillarWeek(Struct, frozen=True):
    """What was measured of a pillar since Monday. ``allocation`` is in percent of one's time."""

    name: str
    allocation: Decimal | None
    alignment: Decimal | None
    focus_minutes: Decimal

    def against(self, focus_of_all: Decimal) -> str:
        parts = ["not measured" if self.alignment is None else f"{self.alignment:.2f}"]
        if self.focus_minutes:
            share = self.focus_minutes / focus_of_all
            parts.append(f"{_plain(self.focus_minutes)} minutes of focus ({share:.0%} of all)")
        if self.allocation is not None:
            parts.append(f"{_plain(self.allocation)}% allocated")
        return f"alignment this week, {self.name}: {', '.join(parts)}"


async def read_person(tx: Transaction, user_id: UUID) -> Person:
    zone, *consents = await _sql.person(tx, user_id=user_id)
    return Person(user_id, known_zone(zone), *consents)


def known_zone(name: str) -> ZoneInfo:
    """The zone by that name; UTC where this machine's data lack what the database's know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


async def read_state(tx: Transaction, person: Person, now: datetime) -> str:
    """Plain lines that begin with ``- ``, the most pressing first; empty where there is nothing to say."""
    today = now.astimezone(person.timezone).date()
    groups = await gather(
        _tasks(tx, person, today),
        _deadlines(tx, person, now),
        _alignment(tx, person, now, today),
        _flow(tx, person, now, today),
        _changed(tx, person),
    )
    lines = [line for group in groups for line in group]
    return "\n".join(f"- {' '.join(line.split())[:LINE]}" for line in lines)


async def _tasks(tx: Transaction, person: Person, today: date) -> list[str]:
    rows = _sql.due_tasks(
        tx, user_id=person.user_id, today=today, with_context=person.store_task_context, per_group=TASKS
    )
    due = [DueTask(*row) async for row in rows]
    overdue, of_today = [task for task in due if task.is_overdue], [task for task in due if not task.is_overdue]
    return [*_group("overdue", overdue), *_group("today", of_today)]


def _group(word: str, tasks: list[DueTask]) -> Iterator[str]:
    yield from (f"{word}: {task.name} ({', '.join(task.details())})" for task in tasks)
    if tasks and tasks[0].total > len(tasks):
        yield f"{word}, besides these: {tasks[0].total - len(tasks)} more tasks"


async def _deadlines(tx: Transaction, person: Person, now: datetime) -> list[str]:
    rows = _sql.deadlines(
        tx, user_id=person.user_id, since=_midnight(now, person.timezone), until=now + HORIZON, limit=DEADLINES
    )
    return [
        f"deadline: {name} (due {deadline.astimezone(person.timezone):%Y-%m-%d}, {status}, {_plain(done)}% complete)"
        async for name, deadline, status, done in rows
    ]


async def _alignment(tx: Transaction, person: Person, now: datetime, today: date) -> list[str]:
    if not person.track_pillar_metrics:
        return []
    monday = _monday(person, today)
    since_day = f"{monday.astimezone(UTC) - timedelta(days=1):%Y-%m-%d}"
    rows = _sql.alignment(tx, user_id=person.user_id, since=monday, until=now, since_day=since_day)
    weeks = [PillarWeek(*row) async for row in rows]
    focus_of_all = sum((week.focus_minutes for week in weeks), Decimal())
    return [week.against(focus_of_all) for week in weeks[:PILLARS]]


async def _flow(tx: Transaction, person: Person, now: datetime, today: date) -> list[str]:
    if not person.track_flow_states:
        return []
    sessions, minutes, distractions, switches = await _sql.flow(
        tx, user_id=person.user_id, since=_monday(person, today), until=now
    )
    if not (sessions or distractions or switches):
        return []
    return [
        f"flow this week: {sessions} sessions, {minutes} minutes,"
        f" {distractions} procrastination triggers, {switches} context switches"
    ]


async def _changed(tx: Transaction, person: Person) -> list[str]:
    # Planning this join takes 1.9 ms, more than all other facts together, and mostly there is nothing to find.
    if not (person.record_rag_snippets and person.has_changes):
        return []
    rows = _sql.changed_lately(tx, user_id=person.user_id, limit=CHANGED)
    return [f"changed just now, {kind} {name}: {detail}" async for kind, name, detail in rows]


def _midnight(now: datetime, zone: ZoneInfo) -> datetime:
    return datetime.combine(now.astimezone(zone).date(), time(), zone)


def _monday(person: Person, today: date) -> datetime:
    """When this week began where the person lives."""
    return datetime.combine(today - timedelta(days=today.weekday()), time(), person.timezone)


def _plain(number: Decimal) -> str:
    """``30`` and ``12.5``, not ``30.00``: a figure as people write it."""
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
