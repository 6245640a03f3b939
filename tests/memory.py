"""How much memory the tests' processes take: little is kept, and the end of a run tells the most that each one held."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator

import pytest

ARENAS = -8
"""glibc's ``M_ARENA_MAX``. Every thread would get memory of its own, and every server here is a thread."""

_libc = ctypes.CDLL(None)
if hasattr(_libc, "mallopt"):
    _libc.mallopt(ARENAS, 1)

LARGE = (
    ("coach.models.tokens", "_encoding"),
    ("tiktoken.registry", "ENCODINGS"),
    ("coach.retrieval.lift", "_isometry"),
)
"""Caches of 40 to 110 MB, which few modules fill."""

CLIENTS = tuple(
    ("langchain_openai.chat_models._client_utils", f"_cached_{kind}_httpx_client") for kind in ("sync", "async")
)
"""Each test's provider has an address of its own, and 1 MB in here."""

_held: dict[str, int] = {}


def peak() -> int:
    """In MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "linux" else 1024**2)


def pytest_collection_finish() -> None:
    # What is imported stays: looked through again at each full collection, it took longer than the rest.
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    empty(CLIENTS)


def empty(caches: tuple[tuple[str, str], ...]) -> None:
    for module, name in caches:
        if module in sys.modules:
            cache = getattr(sys.modules[module], name)
            (cache.clear if isinstance(cache, dict) else cache.cache_clear)()


@pytest.fixture(scope="module", autouse=True)
def gives_memory_back() -> Iterator[None]:
    """What a module's servers and databases held is the system's again before the next module starts its own."""
    yield
    empty(LARGE)
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak"] = peak()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """A process of pytest-xdist has come to its end."""
    _held[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    processes = _held | {"main": peak()}
    terminalreporter.write_line("peak memory: " + ", ".join(f"{name} {held} MB" for name, held in processes.items()))
