"""``coach migrate``."""

from __future__ import annotations

import click

from coach.database.migrations import migrate, pending
from coach.database.opening import owned
from coach.settings import load_settings


async def run(check: bool) -> int:
    """Apply what waits, or with ``check`` only say so; returns the exit code."""
    async with owned(load_settings()) as url:
        if not check:
            applied = await migrate(url, report=click.echo)
            click.echo(f"{len(applied.names)} migrations applied." if applied.names else "Nothing to do.")
            return 0
        waiting = await pending(url)
        for name in waiting:
            click.echo(f"waiting: {name}")
        click.echo(f"{len(waiting)} migrations wait." if waiting else "The database is up to date.")
        return 1 if waiting else 0
