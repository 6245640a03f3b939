"""``coach migrate``."""

from __future__ import annotations

import click

from coach.database.lines import Line
from coach.database.migrations import Applied, migrate, pending
from coach.database.opening import owned
from coach.settings import load_settings

KINDS = {
    "converted": "Converted, dropped or relaxed in the tables that are there",
    "reported": "Done to the rows that are there",
    "refused": "Refused: as long as this is so, nothing can be done",
}


async def check() -> int:
    """Only say what waits; returns the exit code."""
    async with owned(load_settings()) as url:
        waiting = await pending(url)
    for name in waiting:
        click.echo(f"waiting: {name}")
    click.echo(f"{len(waiting)} files of sql/ wait." if waiting else "The database is up to date.")
    return 1 if waiting else 0


async def plan(harden: bool) -> int:
    """Say all that a run would do, and do none of it; returns the exit code: 1 if a run would be refused."""
    lines: list[Line] = []
    async with owned(load_settings()) as url:
        applied = await migrate(url, report=lines.append, harden=harden, is_rehearsal=True)
    _print_list("Created", [f"public.{table}" for table in applied.created])
    left = _left_to_do(lines)
    for kind, title in KINDS.items():
        _print_list(title, [line for line in lines if line.kind == kind and line not in left])
    _print_list("Left to do", left)
    click.echo(f"{_summary(applied)} A rehearsal: nothing was changed.")
    return 1 if any(line.kind == "refused" for line in lines) else 0


async def run(harden: bool) -> int:
    """Apply what waits, and repeat at the end what is left to do; returns the exit code."""
    lines: list[Line] = []

    def hear(line: Line) -> None:
        if line not in lines:  # what two files find is told once
            click.echo(line)
        lines.append(line)

    async with owned(load_settings()) as url:
        applied = await migrate(url, report=hear, harden=harden)
    click.echo(_summary(applied))
    _print_list("Left to do", _left_to_do(lines))
    return 0


def _left_to_do(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.kind == "warning"]


def _print_list(title: str, lines: list[str] | list[Line]) -> None:
    if lines:
        click.echo(f"{title}:")
    for line in dict.fromkeys(lines):
        click.echo(f"- {line}")


def _summary(applied: Applied) -> str:
    if not applied.names:
        return "Nothing to do."
    functions = len(applied.names) - applied.migrations
    return f"{applied.migrations} migrations and {functions} function files applied."
