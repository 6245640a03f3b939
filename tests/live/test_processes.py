"""A forked ``coach`` is one that was started: its output, its exit code, a session of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.live.processes import IMPORTED, CoachProcess


@pytest.mark.parametrize(
    "arguments", [["--version"], ["serve", "--port", "x"], ["serve"], ["token", "--create", "a b"]]
)
def test_a_forked_command_ends_as_one_that_was_started(arguments: list[str], tmp_path: Path):
    environment = os.environ | {"COACH_HOME": "/proc/none", "COACH_JWT_SECRET": "too short"}
    output = tmp_path / "output"

    code = CoachProcess(arguments, environment, output).wait(60)

    started = subprocess.run(
        [Path(sys.executable).with_name("coach"), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (code, output.read_bytes()) == (started.returncode, started.stdout)


def test_what_runs_on_is_told_and_can_be_killed(tmp_path: Path):
    process = CoachProcess(
        ["serve", "--port", "0"], os.environ | {"COACH_DATABASE_URL": "postgresql:///"}, tmp_path / "o"
    )

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.001)
    process.kill()
    assert process.wait(60) == -9


def test_what_is_imported_beforehand_is_there():
    assert all(import_module(name) for name in IMPORTED)
