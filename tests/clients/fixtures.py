"""Stock JavaScript clients, unchanged: a script of this folder in Node, its JSON on standard output."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / ".bin" / "node"
RunClient = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="session")
def node() -> Path:
    """The Node that the clients want, brought by their own lock file; `make test` has installed it before."""
    with (HERE / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may share the tests
        subprocess.run(["make", "--silent", "clients"], cwd=HERE.parents[1], check=True, capture_output=True)
    return NODE


@pytest.fixture
def run_client(node: Path) -> RunClient:
    """``await run_client("openai.mjs", url=…, token=…)``: the script reads them as JSON from its first argument."""

    async def run(script: str, **given: Any) -> Any:
        process = await asyncio.create_subprocess_exec(
            node, HERE / script, json.dumps(given),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"},
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, err.decode()
        return json.loads(out)

    return run
