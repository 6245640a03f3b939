"""The block of live facts: what rows say right now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from coach.database.queries import load
from coach.database.round_trips import Statement
from coach.kinds.base import EntityKind, Record, UserContext
from coach.kinds.registry import KINDS
from coach.values.background import log_failure

_sql = load("live_facts")

TASKS, DEADLINES, PILLARS, CHANGED = 5, 4, 6, 3
"""Lines of each kind: with its two totals and the flow, the block has at most 26."""
CONSENTS = ("record_rag_snippets", "track_pillar_metrics", "track_flow_states", "store_task_context")
HORIZON = timedelta(days=14)
LINE = 300


class Person(Struct, frozen=True):
    """The user's time zone, consents and serving model."""

    timezone: str
    record_rag_snippets: bool
    track_pillar_metrics: bool
    track_flow_states: bool
    store_task_context: bool
    serving_model: str | None = None

    @property
    def context(self) -> UserContext:
        """For whom rows are read."""
        given = frozenset(name for name in CONSENTS if getattr(self, name))
        return UserContext(self.zone, given)

    @property
    def zone(self) -> ZoneInfo:
        """UTC if this machine's data lack a zone that the database knows."""
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")


class DueTask(Struct, frozen=True, array_like=True):
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


class Deadline(Struct, frozen=True, array_like=True):
    """A project that ends soon."""

    name: str
    at: datetime
    status: str
    percent_done: Decimal

    def line(self, zone: ZoneInfo) -> str:
        return (
            f"deadline: {self.name} (due {self.at.astimezone(zone):%Y-%m-%d}, {self.status},"
            f" {_plain(self.percent_done)}% complete)"
        )


class PillarWeek(Struct, frozen=True, array_like=True):
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


class Flow(Struct, frozen=True, array_like=True):
    """The week's flow, and what broke it."""

    sessions: int
    minutes: int
    distractions: int
    switches: int

    def lines(self) -> Iterator[str]:
        if self.sessions or self.distractions or self.switches:
            yield (
                f"flow this week: {self.sessions} sessions, {self.minutes} minutes,"
                f" {self.distractions} procrastination triggers, {self.switches} context switches"
            )


Changed = tuple[str, UUID, datetime, dict[str, Any]]
"""A row that waits to be embedded: its name in the queue, id, time, columns."""


class Facts(Struct, frozen=True):
    """What ``coach.live_facts`` found.

    ``stale`` counts what waits to be embedded, ``waiting`` names the newest messages among it.
    """

    person: Person
    tasks: list[DueTask]
    deadlines: list[Deadline]
    alignment: list[PillarWeek]
    flow: Flow | None
    changed: list[Changed]
    stale: int
    waiting: frozenset[UUID]

    def block(self) -> str:
        """Plain lines that begin with ``- ``, the most pressing first; empty where there is nothing to say."""
        return "\n".join(f"- {' '.join(line.split())[:LINE]}" for line in self._lines(self.person.zone))

    def _lines(self, zone: ZoneInfo) -> Iterator[str]:
        yield from _group("overdue", [task for task in self.tasks if task.is_overdue])
        yield from _group("today", [task for task in self.tasks if not task.is_overdue])
        yield from (deadline.line(zone) for deadline in self.deadlines)
        focus_of_all = sum((week.focus_minutes for week in self.alignment), Decimal())
        yield from (week.against(focus_of_all) for week in self.alignment[:PILLARS])
        if self.flow is not None:
            yield from self.flow.lines()
        for queue_name, id_, updated_at, columns in self.changed:
            # A line shows no more of a text, and a journal entry may have 100 kB to be cut into pieces.
            short = {name: text[:LINE] if isinstance(text, str) else text for name, text in columns.items()}
            yield from _changed(KINDS[queue_name], Record(id_, updated_at, short), self.person.context)


_facts = msgspec.json.Decoder(Facts).decode


def live_facts_statement(user_id: UUID, now: datetime) -> Statement:
    """For the facts as of ``now``; its rows are for ``facts_of_rows``."""
    limits = {"tasks": TASKS, "deadlines": DEADLINES, "changed": CHANGED}
    return _sql.live_facts.statement(user_id=user_id, now=now, horizon=now + HORIZON, **limits)


def facts_of_rows(rows: Sequence[Sequence[str]]) -> Facts:
    """What ``live_facts_statement`` was answered, less the rows that cannot be read."""
    ((facts,),) = rows
    try:
        return _facts(facts)
    except msgspec.ValidationError as error:
        log_failure("live_facts_unreadable", error)
        found = msgspec.json.decode(facts)
        for name, row in (("tasks", DueTask), ("deadlines", Deadline), ("alignment", PillarWeek), ("changed", Changed)):
            found[name] = [each for each in found[name] if _is_readable(each, row)]
        return msgspec.convert(found, Facts)


def _is_readable(row: object, wanted: Any) -> bool:
    try:
        msgspec.convert(row, wanted)
    except msgspec.ValidationError:
        return False
    return True


def _changed(kind: EntityKind, record: Record, user: UserContext) -> Iterator[str]:
    """A row as it stands now, in the words in which it will be embedded; nothing of one that cannot be read."""
    try:
        snippets = list(islice(kind.snippets(record, user), 1))
    except (msgspec.ValidationError, OverflowError):
        return
    for snippet in snippets:
        told = snippet.text.removeprefix(f"{snippet.title}.").strip()
        yield f"changed just now, {kind.label.lower()} {snippet.title}: {told}"


def _group(word: str, tasks: list[DueTask]) -> Iterator[str]:
    yield from (f"{word}: {task.name} ({', '.join(task.details())})" for task in tasks)
    if tasks and tasks[0].total > len(tasks):
        yield f"{word}, besides these: {tasks[0].total - len(tasks)} more tasks"


def _plain(number: Decimal) -> str:
    """``30`` and ``12.5``, not ``30.00``."""
    return f"{number.normalize():f}"
