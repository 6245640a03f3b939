"""``coach bench``."""

from __future__ import annotations

import click


def _say(line: str) -> None:
    click.echo(f"… {line}", err=True)


async def turn(smoke: bool, as_json: bool) -> None:
    from coach.bench import turn as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def vector(smoke: bool, as_json: bool) -> None:
    from coach.bench import vector as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def pipeline(smoke: bool, as_json: bool) -> None:
    from coach.bench import pipeline as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def edits(count: int | None, smoke: bool, as_json: bool) -> None:
    import msgspec

    from coach.bench import edits as bench

    size = bench.SMOKE if smoke else bench.Size()
    if count is not None:
        size = msgspec.structs.replace(size, edits=count)
    result = await bench.run(size, _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def imports(smoke: bool, as_json: bool) -> None:
    from coach.bench import imports as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def sockets(smoke: bool, as_json: bool) -> None:
    from coach.bench import sockets as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def follow(smoke: bool, as_json: bool) -> None:
    from coach.bench import follow as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))


async def streams(smoke: bool, as_json: bool) -> None:
    from coach.bench import streams as bench

    result = await bench.run(bench.SMOKE if smoke else bench.Size(), _say)
    click.echo(bench.as_json(result) if as_json else bench.table(result))
