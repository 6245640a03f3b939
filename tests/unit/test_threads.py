"""What runs beside the event loop."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LISTED = """
import coach, numpy, os
numpy.ones((600, 600)) @ numpy.ones((600, 600))
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.parametrize(("chosen", "threads"), [(None, 1), ("2", 2)])
def test_products_of_vectors_bring_no_threads_along_unless_the_operator_wants_some(
    chosen: str | None, threads: int
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if chosen is not None:
        environment["OPENBLAS_NUM_THREADS"] = chosen

    listed = subprocess.run([sys.executable, "-c", LISTED], env=environment, capture_output=True, text=True, check=True)

    assert int(listed.stdout) == threads
