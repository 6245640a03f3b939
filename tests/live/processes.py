"""``coach …`` as a process of its own, forked from one that has imported everything.

Of the 3.3 s of processor time that a server's start takes, imports are 2.6 s (LangChain and OpenAI more than half).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

IMPORTED = (
    "coach.commands.serve",
    "coach.app",
    "coach.http.protocol",
    "coach.models.openai",
    "coach.models.langchain",
    "coach.retrieval.openai",
)


class CoachProcess:
    """``coach`` with these arguments, in a session of its own; asked and ended as a ``subprocess.Popen`` is.

    Without ``errors`` they go where the output goes.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path | None = None
    ) -> None:
        self.arguments = arguments
        given = (list(arguments), dict(environment), output, errors or output, Path.cwd())
        self._process: BaseProcess = _context().Process(target=_run, args=given)
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


@cache
def _context() -> ForkServerContext:
    context = get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


def _run(arguments: list[str], environment: dict[str, str], output: Path, errors: Path, folder: Path) -> None:
    """What the new process does."""
    os.setsid()
    os.chdir(folder)
    for number, path in ((1, output), (2, errors)):
        with path.open("ab") as written:
            os.dup2(written.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["coach", *arguments]
    from coach.cli import main

    main()
