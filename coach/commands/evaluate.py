"""``coach eval``: retrieval measured in a database of its own, which is gone afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import click
import msgspec

from coach.database.pool import Database
from coach.retrieval.base import Embedder
from coach.testing.scratch import scratch


async def demo_retrieval(min_hit: float, as_json: bool) -> int:
    """Returns the exit code: 1 if the main dataset, the first one, falls below the asked-for hit@10."""
    from coach.evals.demo import run, table

    async with empty_database() as (db, embedder):
        results = await run(db, embedder, date.today(), progress=_say)
    click.echo(msgspec.json.encode(results).decode() if as_json else table(results))
    return 1 if results[0].means["all"].hit_10 < min_hit else 0


async def locomo(file: Path, min_recall: float, as_json: bool) -> int:
    """Returns the exit code: 1 below the asked-for recall."""
    from coach.evals.locomo import run, table

    async with empty_database() as (db, embedder):
        result = await run(db, embedder, file, progress=_say)
    click.echo(msgspec.json.encode(result).decode() if as_json else table(result))
    return 1 if result.means["all"].recall_10 < min_recall else 0


def _say(line: str) -> None:
    click.echo(f"… {line}", err=True)


@asynccontextmanager
async def empty_database() -> AsyncIterator[tuple[Database, Embedder]]:
    """An empty database, and the configured embedder."""
    async with scratch() as place:
        yield place.owner, place.services.embedder
