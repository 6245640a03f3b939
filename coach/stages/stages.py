"""Kinds of coaching session, their stages in order, and what takes a session from one to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar, get_args
from uuid import UUID

from msgspec import Struct

from coach.errors import InvalidInput

T = TypeVar("T", bound=str)
Kind = Literal["grow", "daily_checkin", "weekly_review", "free"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CommandType = Literal["start", "advance", "end"]
Cause = Literal["started", "advanced", "judged", "ended"]

CLOSING = "session_closing"
"""The prompt of the turn in which the user ends a session."""


class Stage(Struct, frozen=True):
    """``done_when`` is what the model judges after each turn. A stage without it ends only by the user's command."""

    name: str
    done_when: str | None = None


STAGES: Mapping[Kind, tuple[Stage, ...]] = {
    "grow": (
        Stage("goal", "the person has named one goal that is concrete enough to tell whether it was reached"),
        Stage("reality", "the person has said where they stand today, and what helps or hinders"),
        Stage("options", "the person has considered at least two ways to go on"),
        Stage("will", "the person has said what they will do, and by when"),
    ),
    "daily_checkin": (
        Stage("arrive", "the person has said how they are and how much energy they have"),
        Stage("focus", "the person has named what matters most today"),
        Stage("commit", "the person has said what they will do today, and when"),
    ),
    "weekly_review": (
        Stage("look_back", "the person has said what went well this week and what did not"),
        Stage("learn", "the person has said what they take from it"),
        Stage("look_ahead", "the person has said what they will do next week"),
    ),
    "free": (Stage("open"),),
}


JUDGED: tuple[Kind, ...] = tuple(kind for kind in KINDS if any(stage.done_when for stage in STAGES[kind]))
"""Kinds with stages that the model judges."""


class SessionCommand(Struct, frozen=True):
    """A command to a session: ``body.session`` on the wire. ``kind`` belongs to ``start``."""

    type: CommandType
    kind: Kind | None = None


class SessionState(Struct, frozen=True):
    """The state of a conversation's session in a turn. ``has_changed``: this turn's command changed it."""

    session_id: UUID
    kind: Kind
    stage: str
    is_over: bool = False
    has_changed: bool = False

    @property
    def prompt(self) -> str:
        """The name of the persona that answers."""
        return CLOSING if self.is_over else prompt_of(self.kind, self.stage)


def names_of(kind: Kind) -> tuple[str, ...]:
    return tuple(stage.name for stage in STAGES[kind])


def prompt_of(kind: Kind, stage: str) -> str:
    """The name of a stage's persona under ``prompts/``. A stage that a former version knew is its kind's first."""
    known = stage if stage in names_of(kind) else STAGES[kind][0].name
    return "session_free" if kind == "free" else f"session_{kind}_{known}"


PROMPT_NAMES = frozenset({CLOSING, *(prompt_of(kind, stage) for kind in KINDS for stage in names_of(kind))})


def stage_of(kind: Kind, name: str) -> Stage:
    return next((stage for stage in STAGES[kind] if stage.name == name), STAGES[kind][0])


def stage_after(kind: Kind, stage: str) -> str | None:
    """The next stage; None after the last one."""
    names = names_of(kind)
    at = names.index(stage) + 1 if stage in names else 1
    return names[at] if at < len(names) else None


def read_command(value: object, path: str = "session") -> SessionCommand | None:
    """A command as it stands in a request's body; null is none.

    :raises InvalidInput: names what is wrong by its path. Unknown fields are passed over, as in all of chat.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidInput(path, "must be an object such as {type: start, kind: grow}.")
    type_ = _one_of(value.get("type"), get_args(CommandType), f"{path}.type")
    kind = value.get("kind")
    if type_ == "start" or kind is not None:
        kind = _one_of(kind, KINDS, f"{path}.kind")
    return SessionCommand(type_, kind if type_ == "start" else None)


def _one_of(value: object, allowed: tuple[T, ...], path: str) -> T:
    for each in allowed:
        if value == each:
            return each
    raise InvalidInput(path, f"must be one of {', '.join(allowed)}.")
