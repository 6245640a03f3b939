"""``coach reembed``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click
import msgspec

from coach.pipeline.progress import Progress, moved, progress
from coach.services import open_services
from coach.settings import load_settings

SECONDS_BETWEEN_LOOKS = 2.0
"""Seconds between the two measurements that show whether anything moves; longer than a worker's poll."""

WIDTH = 30


async def run(as_json: bool) -> None:
    """Tell how far a change of model is."""
    settings = load_settings()
    async with open_services(settings, needs_operators=True) as services:
        db, began = services.require_operators(), services.clock()
        now = await progress(db, began)
        if not now.is_complete:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            ended = services.clock()
            now = moved(now, await progress(db, ended), (ended - began).total_seconds())
    lines = [msgspec.json.encode(now).decode()] if as_json else told(now, settings.embedding_model or None)
    for line in lines:
        click.echo(line)


def told(now: Progress, configured: str | None) -> Iterator[str]:
    """The text for the terminal."""
    if now.target is None:
        yield "No worker has run yet: the first one's COACH_EMBEDDING_MODEL is what all are served from."
        return
    if now.is_complete:
        yield f"All {now.users:,} users are served from {now.target}, by {now.texts:,} vectors."
    else:
        yield from _changing(now)
    if now.given_up:
        yield (
            f"{now.given_up:,} rows are given up: GET /admin/pipeline says why, "
            "POST /admin/pipeline/retry tries them again."
        )
    if configured is not None and configured != now.target:
        yield (
            f"COACH_EMBEDDING_MODEL is {configured} here, but the worker that started last has {now.target}: "
            "restart the workers with the one that you mean."
        )


def _changing(now: Progress) -> Iterator[str]:
    since = f"{now.since:%d %b %H:%M} UTC" if now.since else "now"
    yield f"To {now.target}, begun {since}; the former model serves each user until theirs is complete."
    share = now.texts_done / now.texts if now.texts else 0.0
    full = int(share * WIDTH)
    yield f"  [{'#' * full}{'.' * (WIDTH - full)}] {share:.0%}  {now.texts_done:,} of {now.texts:,} texts"
    yield f"  {now.users_switched:,} of {now.users:,} users switched"
    for each in now.former:
        yield f"  {each.model}: {each.users:,} users still, {each.filled:,} of {each.vectors:,} texts filled in"
    if now.seconds_left is not None:
        yield f"About {_span(now.seconds_left)} left, at {now.texts_per_second:,.0f} texts a second."
    elif now.is_moving:
        yield "A worker is at it; too little happened in two seconds to tell how long it takes."
    else:
        yield (
            "Nothing moved in two seconds. Is a worker running (coach serve, coach worker)? Its log says"
            " pipeline_paused where the embedder refuses, worker_model_is_not_target where another model is configured."
        )
    if now.waiting:
        yield f"{now.waiting:,} rows of theirs wait in the queue: each user is switched when they are done or given up."


def _span(seconds: int) -> str:
    return (
        f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
    )
