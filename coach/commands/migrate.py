"""``coach migrate``."""

from __future__ import annotations

import click

from coach.database.migrations import Applied, migrate, pending
from coach.database.opening import owned
from coach.settings import load_settings


async def run(check: bool) -> int:
    """Apply what waits, or with ``check`` only say so; returns the exit code."""
    async with owned(load_settings()) as url:
        if not check:
            applied = await migrate(url, report=click.echo)
            click.echo(_summary(applied))
            return 0
        waiting = await pending(url)
        for name in waiting:
            click.echo(f"waiting: {name}")
        click.echo(f"{len(waiting)} files of sql/ wait." if waiting else "The database is up to date.")
        return 1 if waiting else 0


def _summary(applied: Applied) -> str:
    if not applied.names:
        return "Nothing to do."
    functions = len(applied.names) - applied.migrations
    return f"{applied.migrations} migrations and {functions} function files applied."
