"""What breaks in one part of the worker is seen, mended by starting anew, and felt by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from coach.database.wake import WorkListener
from coach.errors import DatabaseUnavailable
from coach.metrics import WORKER_CRASHES
from coach.pipeline import background as module
from coach.pipeline.background import Background


class Part:
    """Runs until stopped; the first ones made break instead."""

    def __init__(self, error: Exception | None = None, *, stubborn: bool = False) -> None:
        self.error, self.stubborn = error, stubborn
        self.stopped, self.ended = asyncio.Event(), False

    async def run(self) -> None:
        try:
            if self.error is not None:
                raise self.error
            await (asyncio.sleep(60) if self.stubborn else self.stopped.wait())
        finally:
            self.ended = True

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)


def deaf() -> WorkListener:
    return WorkListener("postgresql://nobody@127.0.0.1:1/none")


def maker(made: list[Part], *errors: Exception) -> Callable[[], Part]:
    def make() -> Part:
        made.append(Part(errors[len(made)] if len(made) < len(errors) else None))
        return made[-1]

    return make


async def enough(made: list[Part], count: int) -> None:
    async with asyncio.timeout(5):
        for _ in range(1000):
            if len(made) >= count:
                return
            await asyncio.sleep(0.01)


def crashes(part: str) -> Any:
    return WORKER_CRASHES.labels(part)._value.get()  # type: ignore[attr-defined]


async def test_a_part_that_dies_is_seen_and_started_anew_and_the_others_do_not_notice() -> None:
    sound: list[Part] = []
    broken: list[Part] = []
    errors = (ValueError("what Ann wrote"), KeyError("and more"))
    worker = Background(deaf(), {"sound": maker(sound), "broken": maker(broken, *errors)})
    with capture_logs() as lines:
        worker.start()
        await enough(broken, 3)
        await worker.stop(1)

    died = [line for line in lines if line["event"] == "worker_part_died"]
    assert [(line["part"], line["error"]) for line in died] == [("broken", "ValueError"), ("broken", "KeyError")]
    assert "Ann" not in str(lines)
    assert crashes("broken") == 2
    assert len(sound) == 1
    assert sound[0].stopped.is_set()


async def test_a_database_that_is_away_is_waited_for_and_no_crash() -> None:
    made: list[Part] = []
    worker = Background(deaf(), {"waiting": maker(made, DatabaseUnavailable("away"))})
    with capture_logs() as lines:
        worker.start()
        await enough(made, 2)
        await worker.stop(1)

    assert {line["event"] for line in lines} >= {"worker_part_waits"}
    assert crashes("waiting") == 0


async def test_a_maker_that_fails_is_tried_again_too() -> None:
    made: list[Part] = []
    calls = 0

    def make() -> Part:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError
        made.append(Part())
        return made[-1]

    worker = Background(deaf(), {"late": make})
    worker.start()
    await enough(made, 1)
    await worker.stop(1)
    assert made[0].ended


async def test_a_stop_waits_for_what_runs_and_cuts_off_what_takes_too_long() -> None:
    quick, slow = Part(), Part(stubborn=True)
    worker = Background(deaf(), {"quick": lambda: quick, "slow": lambda: slow})
    worker.start()
    await asyncio.sleep(0.05)
    with capture_logs() as lines:
        await worker.stop(0.2)
        await worker.stop(0.2)

    assert quick.ended
    assert slow.ended
    assert [line["cut_off"] for line in lines] == [["slow"]], "and a second stop has nothing to do"
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("coach")]


async def test_a_stop_before_anything_runs_is_harmless() -> None:
    worker = Background(deaf(), {"never": maker([])})
    await worker.stop(1)
