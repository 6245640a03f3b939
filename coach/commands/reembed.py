"""``coach reembed``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click
import msgspec

from coach.pipeline.progress import Progress, progress, rate
from coach.services import open_services
from coach.settings import load_settings

SECONDS_BETWEEN_LOOKS = 2.0
"""Seconds between the two measurements that show whether anything moves; longer than a worker's poll."""

WIDTH = 30


async def run(as_json: bool) -> None:
    """Tell how far a change of model is."""
    settings = load_settings()
    async with open_services(settings, needs_operators=True) as services:
        db, clock = services.require_operators(), services.clock
        before = after = await progress(db, clock())
        if not before.is_complete:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            after = await progress(db, clock())
    lines = [as_data(before, after)] if as_json else told(before, after, settings.embedding_model or None)
    for line in lines:
        click.echo(line)


def as_data(before: Progress, after: Progress) -> str:
    """For scripts: the sums, and what they are of."""
    data = {
        "target": after.target,
        "since": after.since,
        "is_complete": after.is_complete,
        "is_moving": is_moving(before, after),
        "users": after.users,
        "users_switched": after.switched,
        "texts": after.texts,
        "texts_done": after.done,
        "texts_per_second": round(rate(before, after), 1),
        "seconds_left": seconds_left(before, after),
        "waiting": after.waiting,
        "given_up": after.given_up,
        "models": after.models,
    }
    return msgspec.json.encode(data).decode()


def told(before: Progress, after: Progress, configured: str | None) -> Iterator[str]:
    """The text for the terminal."""
    if after.target is None:
        yield "No worker has run yet: the first one's COACH_EMBEDDING_MODEL is what all are served from."
        return
    if after.is_complete:
        yield f"All {after.users:,} users are served from {after.target}, by {after.texts:,} vectors."
    else:
        yield from _changing(before, after)
    if after.given_up:
        yield (
            f"{after.given_up:,} rows are given up: GET /admin/pipeline says why, "
            "POST /admin/pipeline/retry tries them again."
        )
    if configured is not None and configured != after.target:
        yield (
            f"COACH_EMBEDDING_MODEL is {configured} here, but the worker that started last has {after.target}: "
            "restart the workers with the one that you mean."
        )


def _changing(before: Progress, after: Progress) -> Iterator[str]:
    since = f"{after.since:%d %b %H:%M} UTC" if after.since else "now"
    yield f"To {after.target}, begun {since}; the former model serves each user until theirs is complete."
    share = after.done / after.texts if after.texts else 0.0
    full = int(share * WIDTH)
    yield f"  [{'#' * full}{'.' * (WIDTH - full)}] {share:.0%}  {after.done:,} of {after.texts:,} texts"
    yield f"  {after.switched:,} of {after.users:,} users switched"
    for each in after.former:
        yield f"  {each.model}: {each.users:,} users still, {each.filled:,} of {each.vectors:,} texts filled in"
    left = seconds_left(before, after)
    if left is not None:
        yield f"About {_span(left)} left, at {rate(before, after):,.0f} texts a second."
    elif is_moving(before, after):
        yield "A worker is at it; too little happened in two seconds to tell how long it takes."
    else:
        yield (
            "Nothing moved in two seconds. Is a worker running (coach serve, coach worker)? Its log says"
            " pipeline_paused where the embedder refuses, worker_model_is_not_target where another model is configured."
        )
    if after.waiting:
        yield (
            f"{after.waiting:,} rows of theirs wait in the queue: each user is switched when they are done or given up."
        )


def is_moving(before: Progress, after: Progress) -> bool:
    return before.is_moving or after.is_moving or (before.done, before.switched) != (after.done, after.switched)


def seconds_left(before: Progress, after: Progress) -> int | None:
    pace = rate(before, after)
    return round((after.texts - after.done) / pace) if pace and not after.is_complete else None


def _span(seconds: int) -> str:
    return (
        f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
    )
