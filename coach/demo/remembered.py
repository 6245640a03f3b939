"""What is remembered of a life: the snippets of its rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from coach.demo.life import Life, TaskMetadata
from coach.kinds.area import AreaRow, of_area
from coach.kinds.base import Snippet
from coach.kinds.journal_entry import JournalRow, of_journal
from coach.kinds.pillar import PillarRow, of_pillar
from coach.kinds.project import ProjectRow, of_project
from coach.kinds.task import TaskContext, TaskRow, of_task


class Remembered(Struct, frozen=True):
    """A snippet, and when its row last changed."""

    snippet: Snippet
    updated_at: datetime


def remembered(life: Life, *, task_context: bool = True, journal: bool = True) -> list[Remembered]:
    """Every row of the life that can be a source, conversations aside.

    ``task_context`` and ``journal`` are the consents ``store_task_context`` and ``store_behavioral_embeddings``.
    """
    told = [*_goals(life), *_projects(life), *_tasks(life, task_context)]
    return [*told, *_journal(life)] if journal else told


def _goals(life: Life) -> Iterator[Remembered]:
    names = {pillar.id: pillar.name for pillar in life.pillars}
    for pillar in life.pillars:
        told = of_pillar(PillarRow(pillar.id, pillar.name, pillar.description, pillar.time_allocation_percentage))
        yield Remembered(told, pillar.updated_at)
    for area in life.areas:
        above = names[area.pillar_id]
        told = of_area(AreaRow(area.id, area.name, area.description, area.importance, above))
        yield Remembered(told, area.updated_at)


def _projects(life: Life) -> Iterator[Remembered]:
    pillars, areas = {row.id: row for row in life.pillars}, {row.id: row for row in life.areas}
    for project in life.projects:
        area = areas[project.area_id]
        told = of_project(
            ProjectRow(
                id=project.id,
                name=project.name,
                description=project.description,
                status=project.status,
                priority=project.priority,
                deadline=_local_day(project.deadline, life),
                completion_percentage=project.completion_percentage,
                area=area.name,
                pillar=pillars[area.pillar_id].name,
            )
        )
        yield Remembered(told, project.updated_at)


def _tasks(life: Life, context: bool) -> Iterator[Remembered]:
    pillars, areas = {row.id: row for row in life.pillars}, {row.id: row for row in life.areas}
    projects = {row.id: row for row in life.projects}
    for task in life.tasks:
        project = projects[task.project_id]
        area = areas[project.area_id]
        told = of_task(
            TaskRow(
                id=task.id,
                name=task.name,
                description=task.description,
                status=task.status,
                priority=task.priority,
                due_date=task.due_date,
                due_time=task.due_time,
                completed_on=_local_day(task.completed_at, life),
                recurrence=task.recurrence,
                estimated_duration=task.estimated_duration,
                context=_context(task.task_metadata) if context else None,
                project=project.name,
                area=area.name,
                pillar=pillars[area.pillar_id].name,
            )
        )
        yield Remembered(told, task.updated_at)


def _context(metadata: TaskMetadata) -> TaskContext:
    return TaskContext(metadata.energy_requirement, metadata.cognitive_load, metadata.context_tags)


def _journal(life: Life) -> Iterator[Remembered]:
    for entry in life.journal_entries:
        row = JournalRow(
            id=entry.id,
            title=entry.title,
            content=entry.content,
            mood=entry.mood,
            energy_level=entry.energy_level,
            tags=entry.tags,
            written_on=_day_of(entry.created_at, life),
        )
        for told in of_journal(row):
            yield Remembered(told, entry.updated_at)


def _local_day(moment: datetime | None, life: Life) -> date | None:
    return _day_of(moment, life) if moment else None


def _day_of(moment: datetime, life: Life) -> date:
    return moment.astimezone(ZoneInfo(life.person.timezone)).date()
