"""Tasks that nobody waits for: none is lost, none outlives its closing, no failure is kept quiet or tells content."""

from __future__ import annotations

import asyncio
import gc

from structlog.testing import capture_logs

from coach.errors import ModelUnavailable
from coach.values.background import BackgroundTasks, beside

SECRET = "My knee hurts"


async def fails(error: Exception) -> None:
    raise error


async def test_a_task_is_held_on_to_until_it_ends() -> None:
    tasks, done = BackgroundTasks("lost"), asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.02)
        done.set()

    tasks.start(work())
    gc.collect()
    assert len(tasks) == 1
    await tasks.wait(1)
    assert done.is_set()
    assert len(tasks) == 0


async def test_a_failure_is_logged_without_what_it_says() -> None:
    tasks = BackgroundTasks("broke")
    with capture_logs() as lines:
        tasks.start(fails(ValueError(SECRET)), conversation="c1")
        tasks.start(fails(ModelUnavailable(SECRET)))
        tasks.start(fails(ValueError(SECRET)), is_awaited=True)
        await tasks.wait(1)
        await asyncio.sleep(0)
    assert [(line["event"], line["log_level"], line["error"]) for line in lines] == [
        ("broke", "error", "ValueError"),
        ("broke", "warning", "ModelUnavailable"),
    ]
    assert lines[0]["conversation"] == "c1"
    assert "fails" in str(lines[0]["frames"])
    assert SECRET not in str(lines)


async def test_closing_waits_for_the_grace_and_then_cuts_off() -> None:
    tasks = BackgroundTasks("cut_off")
    quick, endless = tasks.start(asyncio.sleep(0.05, "done")), tasks.start(asyncio.sleep(60))
    await tasks.aclose(grace=0.2)
    assert quick.result() == "done"
    assert endless.cancelled()
    assert len(tasks) == 0


async def test_a_dropped_cancellation_is_repeated() -> None:
    """As the pool's ``wait_for`` drops one in Python 3.11."""
    tasks, dropped = BackgroundTasks("deaf"), 0

    async def deaf() -> None:
        nonlocal dropped
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            dropped += 1
        await asyncio.sleep(60)

    task = tasks.start(deaf())
    await asyncio.sleep(0)
    await tasks.aclose()
    assert task.cancelled()
    assert dropped == 1


async def test_a_companion_ends_with_what_it_accompanies() -> None:
    with capture_logs() as lines:
        async with beside(asyncio.sleep(60), "companion_broke") as companion:
            await asyncio.sleep(0)
            assert not companion.done()
        async with beside(fails(ValueError(SECRET)), "companion_broke"):
            await asyncio.sleep(0.01)
    assert companion.cancelled()
    assert [line["event"] for line in lines] == ["companion_broke"]
