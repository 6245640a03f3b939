"""A real client on the real stub, in less of a hurry than an operator would be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from coach.bench.stub_provider import StubProvider
from coach.models.openai import OpenAIModel, Retries
from coach.models.openai_upstream import Timeouts

# Long enough for a busy machine: a first call under load took 0.3 s.
BRIEF = Timeouts(first_token=0.7, between_tokens=0.5, total=10.0)
QUICK = Retries(attempts=3, wait_initial=0.005, wait_max=0.01, wait_jitter=0.005, longest_retry_after=0.2)


@pytest.fixture
async def model(model_stub: StubProvider) -> AsyncIterator[OpenAIModel]:
    """Whatever a test did with it, no stream may still run on the stub afterwards."""
    model = OpenAIModel(
        "gpt-4o-mini", api_key=SecretStr("sk-secret"), base_url=model_stub.url, timeouts=BRIEF, retries=QUICK
    )
    yield model
    await model_stub.until(lambda stub: stub.open_streams == 0)
    await model.aclose()
    await model_stub.until(lambda stub: stub.open_connections == 0)
