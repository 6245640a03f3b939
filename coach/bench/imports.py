"""``coach bench import``: what the trigger adds to the time of one statement that imports thousands of rows.

With the trigger and without, in turn: what else the machine does falls on both. Of each the best is compared, as it has
the least of that in it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.testing.scratch import scratch

GOAL = 3.0

_sql = load("bench")


class Size(Struct, frozen=True):
    rows: int = 20_000
    rounds: int = 6


SMOKE = Size(rows=200, rounds=2)


class Result(Struct, frozen=True):
    """Seconds of the statement, the best of ``rounds``; ``adds`` is what the trigger adds, in statements without it."""

    rows: int
    rounds: int
    plain: float
    triggered: float
    adds: float
    queue_rows: int
    goal: float = GOAL


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a database of its own; nothing leaves this machine.

    :raises RuntimeError: an import did not leave one queue row a row.
    """
    plain, triggered = list[float](), list[float]()
    async with scratch("coach-bench-") as place:
        db = place.owner
        for number in range(size.rounds):
            progress(f"round {number + 1} of {size.rounds}")
            # Who goes first changes: the second finds the table larger.
            for is_triggered in (number % 2 == 0, number % 2 == 1):
                took = await _import(db, size.rows, is_triggered=is_triggered)
                (triggered if is_triggered else plain).append(took)
    fastest = min(plain)
    return Result(size.rows, size.rounds, fastest, min(triggered), min(triggered) / fastest - 1, size.rows)


async def _import(db: Database, rows: int, *, is_triggered: bool) -> float:
    """Seconds of the statement and its commit, for a user without rows."""
    user_id, project_id = uuid4(), uuid4()
    async with db.as_login_role() as tx:
        await tx.execute("insert into auth.users (id) values (%s)", (user_id,))
        await (_sql.with_trigger if is_triggered else _sql.without_trigger).run(tx)
    async with db.as_user(user_id, role="authenticated") as tx:
        await _sql.add_project.run(tx, user_id=user_id, project_id=project_id)
    began = perf_counter()
    async with db.as_user(user_id, role="authenticated") as tx:
        await _sql.import_tasks.run(tx, user_id=user_id, project_id=project_id, count=rows)
    took = perf_counter() - began
    await _check(db, rows if is_triggered else 0, user_id)
    return took


async def _check(db: Database, rows: int, user_id: object) -> None:
    async with db.as_operator() as tx:
        queued, edits = await _sql.queued_tasks.one(tx, tuple, user_id=user_id) or (0, 0)
    if (queued, edits) != (rows, rows):
        raise RuntimeError(f"{queued} queue rows of {edits} edits instead of {rows}")


def table(result: Result) -> str:
    return "\n".join(
        [
            f"one statement of {result.rows:,} rows, the best of {result.rounds} [s]",
            f"without the trigger   {result.plain:8.3f}",
            f"with it               {result.triggered:8.3f}   {result.queue_rows:,} queue rows",
            f"the trigger adds {result.adds:.2f}x the statement's time; goal: at most {result.goal:g}x",
        ]
    )
