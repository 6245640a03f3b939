"""What is done periodically, and when (UTC). A new chore is a line in ``CHORES``."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import structlog

from coach.chat.housekeeping import prune_keys, settle_abandoned
from coach.database.pool import Database
from coach.database.queries import load
from coach.models.base import ChatModel
from coach.nudges.repository import make_nudges
from coach.pipeline.jobs import Chore, JobFailed
from coach.realtime.pushes import prune as prune_pushes
from coach.sessions.concluding import conclude_left_over
from coach.sessions.late import judge_left_over

_sql = load("operations")
_log = structlog.get_logger(__name__)

JOB_LOG_KEPT = timedelta(days=14)

REFRESH_VIEWS = "refresh_behavior_views"


async def refresh_views(db: Database, _now: datetime) -> None:
    """Bring the behaviour views up to date.

    :raises JobFailed: names the views that could not be; the others are fresh.
    """
    async with db.as_operator() as tx:
        # Supabase ends what takes a role longer than eight seconds to two minutes.
        await tx.execute("set local statement_timeout = '30min'")
        await _sql.refresh_views.run(tx)
        stale = [name async for (name,) in _sql.views_not_refreshed(tx)]
    if stale:
        raise JobFailed(f"Not refreshed: {', '.join(stale)}; coach.system_log says why.")


async def prune_job_log(db: Database, now: datetime) -> None:
    async with db.as_operator() as tx:
        gone: int = await _sql.prune_job_log.run(tx, before=now - JOB_LOG_KEPT)
    _log.info("job_log_pruned", rows=gone)


def chores(model: ChatModel) -> tuple[Chore, ...]:
    """Those that every worker does, and those that ask ``model``."""
    return *CHORES, Chore("judge_sessions", partial(judge_left_over, model=model), "* * * * *")


CHORES = (
    # Orphaned turns are closed sooner (orphans.py); here are also those that were refused there.
    Chore("settle_abandoned_turns", settle_abandoned, "* * * * *"),
    Chore("make_nudges", make_nudges, "*/15 * * * *"),
    Chore("conclude_sessions", conclude_left_over, "* * * * *"),
    Chore("prune_pushes", prune_pushes, "*/5 * * * *"),
    Chore("prune_idempotency_keys", prune_keys, "23 * * * *"),
    Chore(REFRESH_VIEWS, refresh_views, "17 3 * * *"),
    Chore("prune_job_log", prune_job_log, "47 3 * * *"),
)
