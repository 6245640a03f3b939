"""What is done periodically, and when (UTC)."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import structlog

from coach.chat.orphans import prune_keys, settle_orphans
from coach.database.pool import Database
from coach.database.queries import load
from coach.nudges.repository import make_nudges
from coach.pipeline.job_runner import Job, JobFailed
from coach.realtime.pushes import prune as prune_pushes
from coach.services import Services
from coach.sessions.concluding import conclude_overdue_sessions
from coach.sessions.overdue import judge_overdue_sessions

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
        stale = await _sql.views_not_refreshed.values(tx)
    if stale:
        raise JobFailed(f"Not refreshed: {', '.join(stale)}; coach.system_log says why.")


async def prune_job_log(db: Database, now: datetime) -> None:
    async with db.as_operator() as tx:
        gone = await _sql.prune_job_log.run(tx, before=now - JOB_LOG_KEPT)
    _log.info("job_log_pruned", rows=gone)


def jobs_of(services: Services) -> tuple[Job, ...]:
    """All of them. A new job is a line here."""
    return (
        # Orphaned turns are closed sooner (orphans.py); here are also those that were refused there.
        Job("settle_abandoned_turns", settle_orphans, "* * * * *"),
        Job("make_nudges", make_nudges, "*/15 * * * *"),
        Job("conclude_sessions", conclude_overdue_sessions, "* * * * *"),
        Job("judge_sessions", partial(judge_overdue_sessions, model=services.models.default), "* * * * *"),
        Job("prune_pushes", prune_pushes, "*/5 * * * *"),
        Job("prune_idempotency_keys", prune_keys, "23 * * * *"),
        Job(REFRESH_VIEWS, refresh_views, "17 3 * * *"),
        Job("prune_job_log", prune_job_log, "47 3 * * *"),
    )
