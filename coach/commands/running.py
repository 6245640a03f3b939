"""How a command runs: its log, its event loop, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

import rich_click as click

T = TypeVar("T")

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def run(work: Coroutine[Any, Any, T], runner: Callable[[Coroutine[Any, Any, T]], T] = asyncio.run) -> T:
    """To its end."""
    from coach.telemetry import configure_logging

    configure_logging("error")  # the command itself prints what the user must know
    return runner(work)


def run_quickly(work: Coroutine[Any, Any, T]) -> T:
    """On the server's own event loop: a bench's client is not to be what is measured."""
    import uvloop

    return run(work, uvloop.run)


def end_like_ctrl_c() -> None:
    """SIGTERM, and a terminal that is closed, would end us at once, and leave the embedded database running."""
    for which in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(which) == signal.SIG_DFL:  # under nohup SIGHUP must stay ignored
            signal.signal(which, _interrupt)


def _interrupt(_which: int, _frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As a script's background job is started: what it ignores from a terminal would take this with it.
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
