"""How far a change of model is: for ``coach reembed --status``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load

_sql = load("reembed")


class ModelStatus(Struct, frozen=True):
    """Who is served from a model.

    ``users`` of them, by ``vectors`` texts, of which the next model has ``filled``; ``filling`` are worked at now.
    ``waiting`` and ``given_up`` are rows of theirs in the queue.
    """

    model: str
    users: int
    filling: int
    vectors: int
    filled: int
    waiting: int
    given_up: int


class Progress(Struct, frozen=True):
    """At one moment. ``target`` is the model that all are to be served from; None where no worker has run yet."""

    at: datetime
    target: str | None
    since: datetime | None
    models: tuple[ModelStatus, ...]

    @property
    def former(self) -> tuple[ModelStatus, ...]:
        return tuple(each for each in self.models if each.model != self.target)

    @property
    def is_complete(self) -> bool:
        return self.target is None or not self.former

    @property
    def is_moving(self) -> bool:
        """Whether a worker is filling in a user's vectors now."""
        return any(each.filling for each in self.former)

    @property
    def users(self) -> int:
        return sum(each.users for each in self.models)

    @property
    def switched(self) -> int:
        return self.users - sum(each.users for each in self.former)

    @property
    def texts(self) -> int:
        return sum(each.vectors for each in self.models)

    @property
    def done(self) -> int:
        """Texts that the target has a vector of."""
        return self.texts - sum(each.vectors - each.filled for each in self.former)

    @property
    def waiting(self) -> int:
        return sum(each.waiting for each in self.former)

    @property
    def given_up(self) -> int:
        return sum(each.given_up for each in self.models)


async def progress(db: Database, now: datetime) -> Progress:
    """``db`` is an operator's."""
    async with db.as_operator() as tx:
        target, since = await _sql.target_since.one(tx, tuple) or (None, None)
        return Progress(now, target, since, tuple(await _sql.status.rows(tx, ModelStatus, now=now)))


def rate(before: Progress, after: Progress) -> float:
    """Texts a second between two moments of one change."""
    seconds = (after.at - before.at).total_seconds()
    return max(0.0, (after.done - before.done) / seconds) if seconds > 0 else 0.0
