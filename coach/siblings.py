"""Several serving processes on one socket."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

STARTUP_FAILED = 3
HANDLED = (signal.SIGINT, signal.SIGTERM)
RESTART_PAUSE = 1.0

Serve = Callable[[int], int]
"""Serves as the child of that process, and returns the exit code."""


class Siblings:
    """Signals are passed on, and a process that dies is replaced.

    They are forked before anything is imported that starts threads or an event loop.
    """

    def __init__(self, serve: Serve, count: int) -> None:
        self._serve, self._count = serve, count
        self._children: dict[int, float] = {}
        self._ending = False

    def run(self) -> int:
        with tempfile.TemporaryDirectory(prefix="coach-metrics-") as folder:
            # Set before the children import the library, which reads it then. So each child reports the sums of all.
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
            return self._run()

    def _run(self) -> int:
        for which in HANDLED:
            signal.signal(which, self._pass_on)
        for _ in range(self._count):
            self._fork()
        worst = 0
        while self._children:
            pid, status = os.wait()
            began = self._children.pop(pid, None)
            if began is None:
                continue  # as process 1 of a container we inherit others, such as a database that has stopped
            code = os.waitstatus_to_exitcode(status)
            if self._ending:
                worst = max(worst, code)
            elif code == STARTUP_FAILED:
                worst = code
                self._pass_on(signal.SIGTERM, None)
            else:
                self._replace(pid, code, began)
        return worst

    def _replace(self, pid: int, code: int, began: float) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        log.error("server_process_died", pid=pid, code=code)
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
        # A process that dies at once would otherwise be forked without a pause.
        time.sleep(max(0.0, RESTART_PAUSE - (time.monotonic() - began)))
        if not self._ending:
            self._fork()

    def _fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        pid = os.fork()
        if pid == 0:
            # A group of its own: Ctrl-C would reach it twice, from the terminal and from us, and twice means at once.
            os.setpgrp()
            # Until the server hears them itself they end its start in order: a database is let go of.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            # Straight out: the parent's handlers and open files are the parent's to close.
            os._exit(self._serve(os.getppid()))
        self._children[pid] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def _pass_on(self, which: int, _frame: FrameType | None) -> None:
        self._ending = True
        for pid in list(self._children):
            with suppress(ProcessLookupError):
                os.kill(pid, which)
