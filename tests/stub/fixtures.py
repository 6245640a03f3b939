"""The provider that every test's upstream is: real sockets, scripted answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coach.testing.stub_provider import StubProvider


@pytest.fixture
def model_stub() -> Iterator[StubProvider]:
    """One of the test's own, so that no other test's connections are counted: ten words, at once."""
    stub = StubProvider().start()
    yield stub
    stub.stop()
