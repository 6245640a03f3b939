"""``coach bench``: each measurement is a line here and a module of ``coach.bench``.

A module has ``Size``, ``SMOKE``, ``run(size, progress)`` and ``table(result)``; ``as_json`` where its figures are more
than the result's own fields.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import msgspec
import rich_click as click

from coach.commands.running import as_json_option, run_quickly


class Bench(NamedTuple):
    """``sized_by`` is a field of its ``Size`` that the command line may set."""

    name: str
    module: str
    help: str
    sized_by: str | None = None


BENCHES = (
    Bench("vector", "vector", "Our search against the plain query over the same rows."),
    Bench("turn", "turn", "What the server adds to the model's own time, and turns a second."),
    Bench("pipeline", "pipeline", "How many changed rows a second are embedded, over one call a row."),
    Bench("edits", "edits", "How soon an edit made in SQL is found by GET /api/search of a real server.", "edits"),
    Bench("rows", "rows", "Whether others are answered while long journal entries are cut and embedded."),
    Bench("import", "imports", "What the triggers add to one statement that imports 20,000 rows."),
    Bench("sockets", "sockets", "What 2,000 idle sockets cost, and what 200 readers that never read do to others."),
    Bench(
        "strangers", "strangers", "What 200 MiB of anonymous bytes cost, and how soon silent connections are closed."
    ),
    Bench("streams", "streams", "How many answers one process on one core streams at once, at 20 tokens a second."),
    Bench("burst", "burst", "What 400 turns at once do to themselves, and to another user's request."),
    Bench("follow", "follow", "How much later a reader on another server process has what the first one told."),
)


def commands() -> list[click.Command]:
    return [_command(bench) for bench in BENCHES]


def encode(result: object) -> str:
    """A result's fields, for scripts."""
    return msgspec.json.format(msgspec.json.encode(result)).decode()


def _command(bench: Bench) -> click.Command:
    @click.command(name=bench.name, help=bench.help, epilog=f"Example: coach bench {bench.name} --json")
    @click.option("--smoke", is_flag=True, help="Small and quick, to see that it runs.")
    @as_json_option
    def command(smoke: bool, as_json: bool, **counts: int | None) -> None:
        run_quickly(_run(bench, smoke, as_json, {name: count for name, count in counts.items() if count is not None}))

    if bench.sized_by is not None:
        asked = click.IntRange(2, 100_000)
        command = click.option(f"--{bench.sized_by}", type=asked, help="How many, instead of its own number.")(command)
    return command


async def _run(bench: Bench, smoke: bool, as_json: bool, counts: dict[str, int]) -> None:
    module: Any = import_module(f"coach.bench.{bench.module}")
    size = msgspec.structs.replace(module.SMOKE if smoke else module.Size(), **counts)
    result = await module.run(size, lambda line: click.echo(f"… {line}", err=True))
    click.echo(getattr(module, "as_json", encode)(result) if as_json else module.table(result))
