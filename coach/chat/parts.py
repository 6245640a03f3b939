"""The parts of a turn beside its text. One subclass of ``Part`` declares one kind. Streams, replay, the history of a
conversation and JSON answers read that declaration. OpenAI's protocols have no place for parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Struct

KINDS: list[type[Part]] = []
"""All that are declared, in the order in which they are stored and shown."""


class Part(Struct, frozen=True):
    """One part of a turn's stream. ``type`` is its name there, ``id`` lets a later one replace it.

    ``stored_as``: the name under which it is stored with the answer and replayed; None: it is sent once, as
    ``transient``. ``answered_as``: the field of JSON answers that shows it; None: they leave it out. ``is_list``: a
    turn may have several; both names then hold a list.
    """

    type: ClassVar[str]
    id: ClassVar[str | None] = None
    stored_as: ClassVar[str | None] = None
    answered_as: ClassVar[str | None] = None
    is_list: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        KINDS.append(cls)

    def content(self) -> Any:
        """What is stored, and stands under ``data``."""
        return self

    @classmethod
    def restored(cls, content: Any) -> Self:
        """The part, from its stored ``content``.

        :raises msgspec.ValidationError: it is something else.
        """
        return msgspec.convert(content, cls)

    def shown(self) -> dict[str, Any]:
        """The part of a UI message."""
        part: dict[str, Any] = {"type": self.type, "data": self.content()}
        if self.id is not None:
            part["id"] = self.id
        if self.stored_as is None:
            part["transient"] = True
        return part

    def answered(self) -> Any:
        """Its value in a JSON answer."""
        return self.content()


def store(parts: Iterable[Part]) -> dict[str, Any]:
    """The stored form of the parts, as jsonb."""
    kept: dict[str, Any] = {}
    for part in parts:
        if part.stored_as is not None:
            _put(kept, part, part.stored_as, msgspec.to_builtins(part.content()))
    return kept


def restore(context: Any) -> list[Part]:
    """The parts in an answer's ``context_window``, kind after kind. Values of another shape are left out: an import or
    another app wrote them.
    """
    if not isinstance(context, dict):
        return []
    return [part for kind in KINDS for part in _restored(kind, context)]


def answer(parts: Sequence[Part]) -> dict[str, Any]:
    """The fields of a JSON answer, empty ones for the kinds that the turn did not have."""
    kinds = [kind for kind in KINDS if kind.answered_as is not None]
    fields: dict[str, Any] = {str(kind.answered_as): [] if kind.is_list else None for kind in kinds}
    for part in parts:
        if part.answered_as is not None:
            _put(fields, part, part.answered_as, part.answered())
    return fields


def _put(fields: dict[str, Any], part: Part, name: str, value: Any) -> None:
    if part.is_list:
        fields.setdefault(name, []).append(value)
    else:
        fields[name] = value


def _restored(kind: type[Part], context: dict[str, Any]) -> list[Part]:
    if kind.stored_as is None or kind.stored_as not in context:
        return []
    stored = context[kind.stored_as]
    try:
        return [kind.restored(each) for each in stored] if kind.is_list else [kind.restored(stored)]
    except (msgspec.ValidationError, TypeError):
        return []
