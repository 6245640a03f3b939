"""From the story to dated rows: pillars, areas, projects, tasks, journal entries and conversations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from uuid import UUID, uuid5

from msgspec import Struct

from coach.demo.calendar import Calendar
from coach.demo.life import Area, Conversation, JournalEntry, Message, Pillar, Project, Task, TaskMetadata
from coach.demo.story import ConversationStory, Defaults, ProjectStory, ProjectTasks, Series, Story, TaskStory

BEGINNING = "-52 mon"
SWITCHING_MINUTES = {"routine": 3, "moderate": 8, "complex": 15}
NEXT_AFTER = {"daily": timedelta(days=1), "weekly": timedelta(weeks=1)}


class Setting(Struct, frozen=True):
    """What all rows of one life share: its dates, its ids, its luck."""

    calendar: Calendar
    person: UUID
    chance: random.Random

    def new_id(self, key: str) -> UUID:
        """The id of ``<domain>:<key>``, the same one each time."""
        return uuid5(self.person, key)


def pillars(story: Story, life: Setting) -> Iterator[Pillar]:
    began = life.calendar.moment(BEGINNING)
    for position, told in enumerate(story.tree.pillars):
        yield Pillar(
            key=told.key,
            id=life.new_id(f"pillar:{told.key}"),
            name=told.name,
            description=told.description,
            icon=told.icon,
            color=told.color,
            sort_order=position,
            time_allocation_percentage=told.allocation,
            behavior_metrics=(),
            created_at=began,
            updated_at=began,
        )


def areas(story: Story, life: Setting) -> Iterator[Area]:
    began = life.calendar.moment(BEGINNING)
    for pillar in story.tree.pillars:
        for position, told in enumerate(pillar.areas):
            yield Area(
                key=told.key,
                id=life.new_id(f"area:{told.key}"),
                pillar_id=life.new_id(f"pillar:{pillar.key}"),
                name=told.name,
                description=told.description,
                importance=told.importance,
                sort_order=position,
                behavior_metrics=(),
                created_at=began,
                updated_at=began,
            )


def projects(story: Story, life: Setting) -> Iterator[Project]:
    for area in (area for pillar in story.tree.pillars for area in pillar.areas):
        for position, told in enumerate(area.projects):
            created = life.calendar.moment(told.created, time(9))
            yield Project(
                key=told.key,
                id=life.new_id(f"project:{told.key}"),
                area_id=life.new_id(f"area:{area.key}"),
                name=told.name,
                description=told.description,
                status=told.status,
                priority=told.priority,
                importance=told.importance,
                deadline=life.calendar.moment(told.deadline, time(18)) if told.deadline else None,
                completion_percentage=told.completion,
                sort_order=position,
                created_at=created,
                updated_at=max(created, _last_step(story.tasks[told.key], life.calendar)),
            )


def _last_step(told: ProjectTasks, calendar: Calendar) -> datetime:
    done = [task.done for task in told.tasks if task.done] + [when for each in told.series for when, _ in each.items]
    return max((calendar.moment(when) for when in done), default=calendar.moment(BEGINNING))


def tasks(story: Story, life: Setting) -> Iterator[Task]:
    projects = {
        project.key: project for pillar in story.tree.pillars for area in pillar.areas for project in area.projects
    }
    for key, told in story.tasks.items():
        steps = [*told.tasks, *(step for series in told.series for step in _steps(series))]
        for position, step in enumerate(steps):
            yield _task(step, told.defaults, projects[key], position, life)


def _steps(series: Series) -> Iterator[TaskStory]:
    for number, (when, what) in enumerate(series.items, 1):
        yield TaskStory(
            key=f"{series.key}-{number}",
            title=series.title.format(what=what),
            due=when,
            done=when,
            minutes=series.minutes,
            load=series.load,
            tags=series.tags,
        )


def _task(told: TaskStory, defaults: Defaults, project: ProjectStory, position: int, life: Setting) -> Task:
    project_created = life.calendar.moment(project.created, time(9))
    due, minutes = life.calendar.day(told.due), told.minutes or defaults.minutes
    done = (
        life.calendar.moment(told.done, time(life.chance.randint(8, 20), life.chance.randint(0, 59)))
        if told.done
        else None
    )
    due_at = life.calendar.moment(f"{told.due} {told.time}") if told.time else None
    # Planned a few days to weeks before it is due or done, at the latest yesterday.
    known = min(done or life.calendar.moment("-1d"), life.calendar.moment("-1d"), life.calendar.at(due, time(9)))
    created = min(known - timedelta(hours=1), max(project_created, known - timedelta(days=life.chance.randint(2, 20))))
    recurs = NEXT_AFTER.get(told.recurrence)
    return Task(
        key=told.key,
        id=life.new_id(f"task:{told.key}"),
        project_id=life.new_id(f"project:{project.key}"),
        parent_task_id=life.new_id(f"task:{told.parent}") if told.parent else None,
        name=told.title,
        description=told.note,
        status="completed" if done else told.status,
        priority=told.priority,
        category=told.category or defaults.category,
        due_date=due,
        due_time=time.fromisoformat(told.time) if told.time else None,
        reminder_date=due_at - timedelta(hours=2) if due_at and not done else None,
        completed=done is not None,
        completed_at=done,
        dependency_task_ids=tuple(life.new_id(f"task:{key}") for key in told.after),
        recurrence=told.recurrence,
        recurrence_interval=1 if recurs else None,
        next_due_date=due + recurs if recurs else None,
        estimated_duration=minutes,
        task_metadata=_metadata(told, defaults, minutes),
        sort_order=position,
        created_at=created,
        updated_at=done or created,
    )


def _metadata(told: TaskStory, defaults: Defaults, minutes: int) -> TaskMetadata:
    load, tags = told.load or defaults.load, tuple(told.tags or defaults.tags)
    return TaskMetadata(
        energy_requirement=told.energy or defaults.energy,
        cognitive_load=load,
        context_tags=tags,
        switching_delays=SWITCHING_MINUTES[load],
        estimated_flow_time=minutes * 3 // 4 if "deep_work" in tags else 0,
    )


def journal(story: Story, life: Setting) -> list[JournalEntry]:
    entries = []
    for told in story.journal:
        at = life.calendar.moment(told.at)
        entries.append(
            JournalEntry(
                key=told.key,
                id=life.new_id(f"journal_entry:{told.key}"),
                title=told.title,
                content=life.calendar.tell(told.text).strip(),
                mood=told.mood,
                energy_level=told.energy,
                tags=tuple(told.tags),
                created_at=at,
                updated_at=at,
            )
        )
    return sorted(entries, key=lambda entry: entry.created_at)


def conversations(story: Story, life: Setting) -> list[Conversation]:
    told = (_conversation(talk, life) for talk in story.conversations)
    return sorted(told, key=lambda talk: talk.created_at)


def _conversation(told: ConversationStory, life: Setting) -> Conversation:
    said_at, parent, messages = life.calendar.moment(told.at), None, []
    for number, text in enumerate(told.messages):
        message = Message(
            id=life.new_id(f"conversation:{told.key}:{number}"),
            client_id=f"{told.key}-{number}",
            role="assistant" if number % 2 else "user",
            content=life.calendar.tell(text).strip(),
            said_at=said_at,
            parent_id=parent,
        )
        messages.append(message)
        parent = message.id
        # An answer comes in seconds, but a user reads and thinks first.
        said_at += timedelta(seconds=life.chance.randint(25, 140) if number % 2 else life.chance.randint(4, 9))
    return Conversation(
        key=told.key,
        id=life.new_id(f"conversation:{told.key}"),
        client_id=told.key,
        title=told.title,
        feature_type=told.feature,
        messages=tuple(messages),
        current_message_id=messages[-1].id,
        created_at=messages[0].said_at,
        updated_at=messages[-1].said_at,
    )
