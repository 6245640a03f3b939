"""``coach …`` as a process of its own, forked from one that has imported everything.

Of the 3.3 s of processor time that a server's start takes, imports are 2.6 s (LangChain and OpenAI more than half).
Whoever needs our own modules anew still has the libraries: of those 2.6 s, 0.7 s are left.
"""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

IMPORTED = (
    "coach.commands.serve",
    "coach.commands.demo",
    "coach.app",
    "coach.http.protocol",
    "coach.models.openai",
    "coach.models.langchain",
    "coach.retrieval.openai",
)


ANEW = ("coach", "prometheus_client", "sitecustomize")
"""What reads its environment, or its path, when it is imported."""

INHERITED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
"""Signals that whoever starts a process may have it ignore."""


class CoachProcess:
    """``coach`` with these arguments, in a session of its own; asked and ended as a ``subprocess.Popen`` is.

    Without ``errors`` they go where the output goes. ``is_anew``: it imports our modules itself, and the metrics.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        errors: Path | None = None,
        *,
        folder: Path | None = None,
        is_anew: bool = False,
    ) -> None:
        self.arguments = arguments
        given = (list(arguments), dict(environment), output, errors or output, folder or Path.cwd(), is_anew)
        ignored = [which for which in INHERITED if signal.getsignal(which) is signal.SIG_IGN]
        self._process: BaseProcess = _context().Process(target=_run, args=(*given, ignored))
        self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. :raises subprocess.TimeoutExpired: it runs on."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        return self._process.exitcode

    def send_signal(self, which: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, which)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_coach(
    arguments: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None, seconds: float = 100
) -> subprocess.CompletedProcess[str]:
    """``coach`` until it ends, and what it said."""
    with TemporaryDirectory(prefix="coach-said-") as place:
        output, errors = Path(place, "output"), Path(place, "errors")
        process = CoachProcess(arguments, environment, output, errors, folder=folder)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


@cache
def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _run(
    arguments: list[str], environment: dict[str, str], output: Path, errors: Path, folder: Path, is_anew: bool,
    ignored: list[int],
) -> None:  # fmt: skip
    """What the new process does."""
    os.setsid()
    for which, default in INHERITED.items():
        signal.signal(which, signal.SIG_IGN if which in ignored else default)
    os.chdir(folder)
    for number, path in ((1, output), (2, errors)):
        with path.open("ab") as written:
            os.dup2(written.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["coach", *arguments]
    if is_anew:
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        for name in [name for name in sys.modules if name.partition(".")[0] in ANEW]:
            del sys.modules[name]
        site.execsitecustomize()
    from coach.cli import main

    main()
