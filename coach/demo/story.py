"""The authored story under ``coach/demo/story``, read once and checked against its shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

FOLDER = Path(__file__).parent / "story"


class ProjectStory(Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    name: str
    description: str
    status: str
    priority: str
    importance: int
    completion: float
    created: str
    deadline: str | None = None


class AreaStory(Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    name: str
    description: str
    importance: int
    projects: list[ProjectStory]


class PillarStory(Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    name: str
    description: str
    icon: str
    color: str
    allocation: float
    areas: list[AreaStory]
    neglected: bool = False


class ProfileStory(Struct, frozen=True, forbid_unknown_fields=True):
    first_name: str
    last_name: str
    monthly_alignment_goal: int


class Tree(Struct, frozen=True, forbid_unknown_fields=True):
    person: ProfileStory
    pillars: list[PillarStory]


class TaskStory(Struct, frozen=True, forbid_unknown_fields=True):
    """``done`` is when it was completed; ``after`` names tasks that come first; what is missing is the project's."""

    key: str
    title: str
    due: str
    done: str | None = None
    time: str | None = None
    status: Literal["todo", "in_progress", "review"] = "todo"
    priority: str = "medium"
    note: str | None = None
    parent: str | None = None
    after: list[str] = []
    recurrence: str = "none"
    minutes: int | None = None
    energy: str | None = None
    load: str | None = None
    tags: list[str] | None = None
    category: str | None = None


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    category: str
    energy: str
    load: str
    tags: list[str]
    minutes: int


class Series(Struct, frozen=True, forbid_unknown_fields=True):
    """The same step again and again, each time with its own date and words; all of them done."""

    key: str
    title: str
    items: list[tuple[str, str]]
    minutes: int | None = None
    load: str | None = None
    tags: list[str] | None = None


class ProjectTasks(Struct, frozen=True, forbid_unknown_fields=True):
    defaults: Defaults
    tasks: list[TaskStory]
    series: list[Series] = []


class JournalStory(Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    at: str
    title: str
    mood: str
    energy: str
    tags: list[str]
    text: str


class ConversationStory(Struct, frozen=True, forbid_unknown_fields=True):
    """``messages`` alternate, the user first."""

    key: str
    at: str
    title: str
    feature: str
    messages: list[str]


class AreaRhythm(Struct, frozen=True, forbid_unknown_fields=True):
    """Curves over the weeks; ``weekend`` multiplies the minutes of Saturday and Sunday."""

    alignment: list[tuple[float, float]]
    minutes: list[tuple[float, float]]
    weekend: float


class Rhythm(Struct, frozen=True, forbid_unknown_fields=True):
    areas: dict[str, AreaRhythm]
    tags: dict[str, str]
    moods: dict[str, float]
    switches: list[str]
    triggers: list[str]


class Story(Struct, frozen=True):
    """All of it. ``tasks`` is by the project's key."""

    tree: Tree
    tasks: dict[str, ProjectTasks]
    journal: list[JournalStory]
    conversations: list[ConversationStory]
    rhythm: Rhythm


@cache
def casts() -> list[list[str]]:
    """The casts of the story's names; the first one is its own."""
    return msgspec.convert(_parsed((FOLDER / "casts.yaml").read_text("utf-8")), list[list[str]])


@cache
def read_story(cast: int = 0) -> Story:
    """The story as it lies beside this file, with the names of that cast."""
    tasks: dict[str, ProjectTasks] = {}
    for told in _told("tasks/*", cast):
        tasks |= msgspec.convert(told, dict[str, ProjectTasks])
    (tree,), (rhythm,) = _told("tree", cast), _told("rhythm", cast)
    return Story(
        tree=msgspec.convert(tree, Tree),
        tasks=tasks,
        journal=[entry for told in _told("journal/*", cast) for entry in msgspec.convert(told, list[JournalStory])],
        conversations=[
            talk for told in _told("conversations/*", cast) for talk in msgspec.convert(told, list[ConversationStory])
        ],
        rhythm=msgspec.convert(rhythm, Rhythm),
    )


def _told(files: str, cast: int) -> Iterator[Any]:
    """Names begin with a capital letter and keys do not, so the files can be recast as text."""
    names = dict(zip(casts()[0], casts()[cast], strict=True))
    own = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    for path in sorted(FOLDER.glob(f"{files}.yaml")):
        text = path.read_text("utf-8")
        yield _parsed(own.sub(lambda found: names[found[0]], text) if cast else text)


def _parsed(text: str) -> Any:
    import yaml

    # The C loader, where it is built, reads the story in 0.15 s instead of 1.1.
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
