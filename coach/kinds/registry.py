"""All entity kinds: what search, memory, pipeline, live facts, the offline model and the page know of them."""

from __future__ import annotations

from msgspec import Struct

from coach.errors import InvalidInput
from coach.kinds import area, behavior_summary, journal_entry, pillar, project, task
from coach.kinds.base import EntityKind

KINDS: dict[str, EntityKind] = {
    kind.queue_name: kind
    for kind in (
        pillar.KIND,
        area.KIND,
        project.KIND,
        task.KIND,
        journal_entry.KIND,
        behavior_summary.OF_PILLARS,
        behavior_summary.OF_AREAS,
    )
}
"""By the name of their rows in the queue. A new kind is a line here."""

CONVERSATION = "conversation"
"""What messages are as sources. They are no entity kind: they have no row of life data."""

_ICON = "M4 5h16v11H9l-5 4z"


class Shown(Struct, frozen=True):
    """What a kind of source is called on a page; ``icon`` is the path of a 24-pixel SVG."""

    kind: str
    label: str
    icon: str


def shown_kinds() -> tuple[Shown, ...]:
    """Each kind of source once."""
    shown = {each.kind: Shown(each.kind, each.label, each.icon) for each in KINDS.values()}
    return (*shown.values(), Shown(CONVERSATION, "Conversation", _ICON))


def kind_names() -> tuple[str, ...]:
    """What can be a source: each kind once, and conversations."""
    return (*dict.fromkeys(kind.kind for kind in KINDS.values()), CONVERSATION)


def one_of_kinds(name: str | None, path: str) -> str | None:
    """``name``, which is a kind of source or nothing.

    :raises InvalidInput: it is neither; names ``path``.
    """
    if name is not None and name not in kind_names():
        raise InvalidInput(path, f"must be one of {', '.join(kind_names())}.")
    return name


def kind_of(queue_name: str) -> str:
    """The kind of a queue row; of messages, ``CONVERSATION``."""
    return KINDS[queue_name].kind if queue_name in KINDS else CONVERSATION


def queue_names(kind: str) -> list[str]:
    """What rows of a kind are called in the queue: two names where rows of two tables are of one kind."""
    return [each.queue_name for each in KINDS.values() if each.kind == kind]
