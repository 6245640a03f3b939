"""``coach eval``: retrieval measured in a database of its own, which is gone afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from coach.database.pool import Database
from coach.database.scratch import scratch
from coach.retrieval.base import Embedder
from coach.retrieval.embedders import build_embedder
from coach.settings import load_settings


async def locomo(file: Path, min_recall: float, as_json: bool) -> int:
    """Returns the exit code: 1 below the asked-for recall."""
    from coach.evals.locomo import run, table

    async with empty_database() as (db, embedder):
        result = await run(db, embedder, file, progress=lambda line: click.echo(line, err=True))
    click.echo(msgspec.json.encode(result).decode() if as_json else table(result))
    return 1 if result.means["all"].recall_10 < min_recall else 0


@asynccontextmanager
async def empty_database() -> AsyncIterator[tuple[Database, Embedder]]:
    """A database with nobody in it, and the configured embedder."""
    settings = load_settings()
    async with scratch() as place:
        db, embedder = Database(place.owner), build_embedder(settings)
        await db.open()
        try:
            yield db, embedder
        finally:
            await db.close()
            await embedder.aclose()
