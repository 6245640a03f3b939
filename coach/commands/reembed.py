"""``coach reembed``."""

from __future__ import annotations

import click
import msgspec

from coach.database.opening import opened
from coach.database.pool import Database
from coach.pipeline.reembed import status
from coach.settings import load_settings


async def run(as_json: bool) -> None:
    """Tell how far a change of model is."""
    async with opened(load_settings()) as urls:
        db = Database(urls.worker)
        await db.open()
        try:
            target, models = await status(db)
        finally:
            await db.close()
    if as_json:
        click.echo(msgspec.json.encode({"target": target, "models": models}).decode())
        return
    click.echo(f"All are to be served from {target or 'nothing yet: no worker has run'}.")
    for each in models:
        share = "" if each.model == target else f"; {each.filled:,} of {each.vectors:,} vectors filled in"
        click.echo(f"  {each.model}: {each.users:,} users{share}")
