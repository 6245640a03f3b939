"""A made-up life that has nothing of the demo's: Kofi, who bakes in Porto. Days are counted from the day it is read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid5

from coach.demo.life import Area, DemoUser, JournalEntry, Life, Pillar, Project, Task, TaskMetadata

_KOFI = UUID("5d0c2f6e-8a51-4f0e-9f55-6c1f2f0a7b3d")

# Pillar: (share of the time, its areas); area: (description, importance).
PILLARS = {"Bakery": 45, "Family": 30, "Body": 15, "Music": 10}
AREAS = {
    "Rye and Salt": ("Bakery", "The bakery in Rua do Almada, and the second shop that is to come.", 5),
    "The twins": ("Family", "Ama and Leo, who are nine, and everything that they need.", 5),
    "Open water": ("Body", "Swimming outdoors without being afraid of depth.", 3),
    "Choir": ("Music", "Second bass in the choir of Lapa.", 3),
}
# Project: area, description, status, days until its deadline, percent.
PROJECTS = {
    "Second shop": ("Rye and Salt", "A shop with six tables in Matosinhos.", "In Progress", 10, 45),
    "Christmas concert": ("Choir", "Bach's Magnificat in the church of Lapa.", "In Progress", 12, 60),
    "Lake crossing": ("Open water", "Four kilometres across the Azibo reservoir.", "In Progress", 200, 30),
    "Treehouse": ("The twins", "A treehouse in the walnut tree, with a pulley.", "On Hold", None, 20),
}
# Task: project, days until due, days since done or None, priority, note.
TASKS = {
    "Call the landlord about the lease": (
        "Second shop",
        -5,
        None,
        "high",
        "Mr. Teixeira wants 1,450 euros a month.",
    ),
    "Have the oven door repaired": ("Second shop", -12, None, "medium", None),
    "Order walnut planks": ("Treehouse", -30, None, "low", "Eleven planks, 240 euros at the sawmill."),
    "Send the menu to the printer": ("Second shop", 0, None, "high", None),
    "Learn the fugue by heart": ("Christmas concert", 6, None, "medium", None),
    "Swim two kilometres without a break": ("Lake crossing", -20, 21, "medium", "It took 52 minutes."),
    "Hire a second baker": ("Second shop", -15, 14, "high", "Beatriz Lobo starts in January."),
    "Have the health inspector in": ("Second shop", 8, None, "high", None),
}
# Entry: days ago, mood, tags, text.
JOURNAL = {
    "Parents' evening": (40, "proud", "twins", "Mrs. Okafor says that Leo reads two years ahead. Ama draws a lot."),
    "Cold water": (16, "alive", "swimming", "Swam with Ines at Leça, 13 degrees. I was in for 18 minutes."),
    "Rehearsal without a tenor": (9, "amused", "choir", "Rehearsal with Hanne at the organ, who wants it slower."),
    "The bank said yes": (25, "relieved", "shop", "The loan of 38,000 euros is through, because the books were clean."),
    "Dentist": (70, "annoyed", "body", "Two fillings at Dr. Sampaio's, 180 euros."),
    "First swim outdoors": (160, "scared", "swimming", "Ten minutes along the shore, with my heart in my mouth."),
}  # fmt: skip


def second_life(today: date) -> Life:
    return Life(
        DemoUser("Kofi", "Mensah", 70, "Europe/Lisbon"),
        today,
        0,
        tuple(_pillars(today)),
        tuple(_areas(today)),
        tuple(_projects(today)),
        tuple(_tasks(today)),
        tuple(_journal(today)),
        (),
        (),
    )


def _id(name: str) -> UUID:
    return uuid5(_KOFI, name)


def _at(day: date) -> datetime:
    return datetime.combine(day, time(9), UTC)


def _pillars(today: date) -> Iterator[Pillar]:
    for place, (name, share) in enumerate(PILLARS.items()):
        begun = _at(today - timedelta(days=300))
        yield Pillar(
            name, _id(name), name, f"{name} as it should be.", "star", "#336699", place, share, (), begun, begun
        )


def _areas(today: date) -> Iterator[Area]:
    for place, (name, (pillar, description, importance)) in enumerate(AREAS.items()):
        begun = _at(today - timedelta(days=300))
        yield Area(name, _id(name), _id(pillar), name, description, importance, place, (), begun, begun)


def _projects(today: date) -> Iterator[Project]:
    for place, (name, (area, description, status, left, percent)) in enumerate(PROJECTS.items()):
        begun = _at(today - timedelta(days=90))
        deadline = None if left is None else _at(today + timedelta(days=left))
        yield Project(
            name, _id(name), _id(area), name, description, status, "high", 4, deadline, percent, place, begun, begun
        )


def _tasks(today: date) -> Iterator[Task]:
    for place, (name, (project, due, done, priority, note)) in enumerate(TASKS.items()):
        begun, is_done = _at(today - timedelta(days=60)), done is not None
        yield Task(
            key=name,
            id=_id(name),
            project_id=_id(project),
            parent_task_id=None,
            name=name,
            description=note,
            status="completed" if is_done else "todo",
            priority=priority,
            category="work",
            due_date=today + timedelta(days=due),
            due_time=None,
            reminder_date=None,
            completed=is_done,
            completed_at=_at(today - timedelta(days=done)) if done is not None else None,
            dependency_task_ids=(),
            recurrence="none",
            recurrence_interval=None,
            next_due_date=None,
            estimated_duration=30,
            task_metadata=TaskMetadata("medium", "moderate", (), 0, 0),
            sort_order=place,
            created_at=begun,
            updated_at=begun,
        )


def _journal(today: date) -> Iterator[JournalEntry]:
    for title, (ago, mood, tag, text) in JOURNAL.items():
        written = _at(today - timedelta(days=ago))
        yield JournalEntry(title, _id(title), title, text, mood, "medium", (tag,), written, written)
