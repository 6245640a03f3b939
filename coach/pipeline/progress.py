"""How far a change of model is: for ``coach reembed --status``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

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
    """Of a change of model: how far it is, and how fast it went between two readings.

    ``target`` is the model that all are to be served from; None where no worker has run yet. ``texts_done`` have a
    vector of it. It ``is_moving`` where a worker is filling in a user's vectors. ``waiting`` rows keep users from being
    switched.
    """

    target: str | None
    since: datetime | None
    is_complete: bool
    is_moving: bool
    users: int
    users_switched: int
    texts: int
    texts_done: int
    texts_per_second: float
    seconds_left: int | None
    waiting: int
    given_up: int
    models: tuple[ModelStatus, ...]

    @property
    def former(self) -> list[ModelStatus]:
        return [each for each in self.models if each.model != self.target]


async def progress(db: Database, now: datetime) -> Progress:
    """At one moment, before which nothing is known. ``db`` is an operator's."""
    async with db.as_operator() as tx:
        target, since = await _sql.target_since.one(tx, tuple) or (None, None)
        models = tuple(await _sql.status.rows(tx, ModelStatus, now=now))
    former = [each for each in models if each.model != target]
    users, texts = sum(each.users for each in models), sum(each.vectors for each in models)
    return Progress(
        target=target,
        since=since,
        is_complete=target is None or not former,
        is_moving=any(each.filling for each in former),
        users=users,
        users_switched=users - sum(each.users for each in former),
        texts=texts,
        texts_done=texts - sum(each.vectors - each.filled for each in former),
        texts_per_second=0.0,
        seconds_left=None,
        waiting=sum(each.waiting for each in former),
        given_up=sum(each.given_up for each in models),
        models=models,
    )


def moved(before: Progress, after: Progress, seconds: float) -> Progress:
    """``after``, with what happened since ``before``, so many seconds ago."""
    pace = max(0.0, (after.texts_done - before.texts_done) / seconds)
    has_moved = (before.texts_done, before.users_switched) != (after.texts_done, after.users_switched)
    return replace(
        after,
        is_moving=before.is_moving or after.is_moving or has_moved,
        texts_per_second=round(pace, 1),
        seconds_left=round((after.texts - after.texts_done) / pace) if pace and not after.is_complete else None,
    )
