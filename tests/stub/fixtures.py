"""The provider that every test's upstream is: real sockets, scripted answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coach.testing.stub_provider import StubProvider


@pytest.fixture
def model_stub() -> Iterator[StubProvider]:
    """One of the test's own, so that no other test's connections are counted: ten words, at once."""
    stub = StubProvider().start()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def provider() -> Iterator[StubProvider]:
    """One for a server that a module shares."""
    stub = StubProvider().start()
    yield stub
    stub.stop()


@pytest.fixture
def stub(provider: StubProvider) -> StubProvider:
    """The provider behind the module's server, with nothing remembered."""
    provider.reset()
    return provider


def asking(provider: StubProvider) -> dict[str, Any]:
    """The settings of a server whose answers come from there; it embeds by itself."""
    return {
        "openai_api_key": "stub",
        "openai_base_url": provider.url,
        "chat_model": "stub",
        "embedding_model": "wordllama",
    }
