"""A life as rows: what the generator makes and the loader writes. Fields are named as their columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType


class DemoUser(Struct, frozen=True):
    """The user of this life."""

    first_name: str
    last_name: str
    monthly_alignment_goal: int
    timezone: str


class MetricPoint(Struct, frozen=True):
    """How one day served a pillar or an area; the ranges are those of schema.md."""

    timestamp: datetime
    alignment_score: float
    sentiment: float
    habit_strength: float
    energy_level: float
    focus_time_minutes: int


class Pillar(Struct, frozen=True):
    key: str
    id: UUID
    name: str
    description: str
    icon: str
    color: str
    sort_order: int
    time_allocation_percentage: float
    behavior_metrics: tuple[MetricPoint, ...]
    created_at: datetime
    updated_at: datetime


class Area(Struct, frozen=True):
    key: str
    id: UUID
    pillar_id: UUID
    name: str
    description: str
    importance: int
    sort_order: int
    behavior_metrics: tuple[MetricPoint, ...]
    created_at: datetime
    updated_at: datetime


class Project(Struct, frozen=True):
    key: str
    id: UUID
    area_id: UUID
    name: str
    description: str
    status: str
    priority: str
    importance: int
    deadline: datetime | None
    completion_percentage: float
    sort_order: int
    created_at: datetime
    updated_at: datetime


class TaskMetadata(Struct, frozen=True):
    """The effort of a task; times are in minutes."""

    energy_requirement: str
    cognitive_load: str
    context_tags: tuple[str, ...]
    switching_delays: int
    estimated_flow_time: int


class Task(Struct, frozen=True):
    key: str
    id: UUID
    project_id: UUID
    parent_task_id: UUID | None
    name: str
    description: str | None
    status: Literal["todo", "in_progress", "review", "completed"]
    priority: str
    category: str
    due_date: date | None
    due_time: time | None
    reminder_date: datetime | None
    completed: bool
    completed_at: datetime | None
    dependency_task_ids: tuple[UUID, ...]
    recurrence: str
    recurrence_interval: int | None
    next_due_date: date | None
    estimated_duration: int
    task_metadata: TaskMetadata
    sort_order: int
    created_at: datetime
    updated_at: datetime


class JournalEntry(Struct, frozen=True):
    key: str
    id: UUID
    title: str
    content: str
    mood: str
    energy_level: str
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class EventData(Struct, frozen=True, omit_defaults=True):
    """What a flow event says beside its kind."""

    area: str
    reason: str | UnsetType = UNSET


FlowKind = Literal["flow_entry", "flow_exit", "context_switch", "procrastination_trigger"]


class FlowEvent(Struct, frozen=True):
    id: UUID
    session_id: str
    action_type: FlowKind
    feature_name: str
    event_data: EventData
    duration_ms: int | None
    timestamp: datetime


class Message(Struct, frozen=True):
    id: UUID
    client_id: str
    role: Literal["user", "assistant"]
    content: str
    said_at: datetime
    parent_id: UUID | None


class Conversation(Struct, frozen=True):
    key: str
    id: UUID
    client_id: str
    title: str
    feature_type: str
    messages: tuple[Message, ...]
    current_message_id: UUID
    created_at: datetime
    updated_at: datetime


class Life(Struct, frozen=True):
    """One user's year, oldest first within each kind; projects, tasks and areas in the order of the tree."""

    person: DemoUser
    today: date
    daily_streak: int
    pillars: tuple[Pillar, ...]
    areas: tuple[Area, ...]
    projects: tuple[Project, ...]
    tasks: tuple[Task, ...]
    journal_entries: tuple[JournalEntry, ...]
    flow_events: tuple[FlowEvent, ...]
    conversations: tuple[Conversation, ...]

    def sources(self) -> Iterator[tuple[str, str]]:
        """``<domain>:<key>`` of each row that can be a source, with its ``<domain>:<id>``.

        A message is ``conversation:<key>/<its number>``, the first one 1.
        """
        for domain, rows in (
            ("pillar", self.pillars),
            ("area", self.areas),
            ("project", self.projects),
            ("task", self.tasks),
            ("journal_entry", self.journal_entries),
        ):
            for row in rows:
                yield f"{domain}:{row.key}", f"{domain}:{row.id}"
        for conversation in self.conversations:
            for number, message in enumerate(conversation.messages, 1):
                yield f"conversation:{conversation.key}/{number}", f"conversation:{message.id}"
