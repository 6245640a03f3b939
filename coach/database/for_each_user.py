"""Runs a step for each user in a transaction of its own, so that a failure for one user does not affect the others."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog
from psycopg import Error as DatabaseError

from coach.database.operators import yielding_transaction
from coach.database.pool import Database, Transaction
from coach.errors import DatabaseBusy, DatabaseUnavailable, NotAllDone

K = TypeVar("K")
T = TypeVar("T")
_log = structlog.get_logger(__name__)


@dataclass
class Outcome(Generic[K, T]):
    """What the steps returned, and the keys of those that did not come to their end."""

    work: str
    done: dict[K, T] = field(default_factory=dict)
    busy: list[K] = field(default_factory=list)
    """A transaction of the user holds the lock. This is no fault: the next round tries again."""

    failed: list[K] = field(default_factory=list)


async def for_each_user(
    db: Database, work: str, keys: Iterable[K], step: Callable[[Transaction, K], Awaitable[T]]
) -> Outcome[K, T]:
    """Take ``step`` for each key, as the operator and giving way to the user's own transactions.

    ``key`` says for whom and of what: a user, or a tuple with the user in it. ``work`` names it all in the log.

    :raises DatabaseUnavailable: the database cannot be reached.
    """
    outcome = Outcome[K, T](work)
    for key in keys:
        try:
            async with yielding_transaction(db) as tx:
                result = await step(tx, key)
            outcome.done[key] = result
        except DatabaseBusy:
            outcome.busy.append(key)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a user's rows broke in it: the others' turn comes
            code = error.sqlstate if isinstance(error, DatabaseError) else None
            frames = traceback.format_tb(error.__traceback__)
            _log.error("user_step_failed", work=work, error=type(error).__name__, code=code, frames=frames)
            outcome.failed.append(key)
    if outcome.busy:
        _log.info("users_busy", work=work, users=len(outcome.busy))
    return outcome


def require_all(*outcomes: Outcome[Any, Any]) -> None:
    """:raises NotAllDone: a step of these failed."""
    failed = [f"{outcome.work}: {len(outcome.failed)}" for outcome in outcomes if outcome.failed]
    if failed:
        raise NotAllDone(f"Not done for some users ({', '.join(failed)}); the next round tries again.")
