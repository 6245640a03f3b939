"""The provider that every test's upstream is: real sockets, scripted answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coach.bench.stub_provider import StubProvider


@pytest.fixture(scope="session")
def _stub_server() -> Iterator[StubProvider]:
    stub = StubProvider().start()
    yield stub
    stub.stop()


@pytest.fixture
def model_stub(_stub_server: StubProvider) -> StubProvider:
    """Fresh counts and an empty script: ten words, at once."""
    _stub_server.reset()
    return _stub_server
