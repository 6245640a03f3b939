"""A real client on the real stub, patient unless the test is about silence: how busy a machine is must not matter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import structs
from pydantic import SecretStr

from coach.models.openai import OpenAIModel, Retries
from coach.models.timeouts import Timeouts
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Stall

CALM = Timeouts(first_token=30.0, between_tokens=30.0, total=60.0)
BRIEF = Timeouts(first_token=0.7, between_tokens=0.5, total=60.0)
"""For those who wait for nothing to come: an answer may take longer on a busy machine."""
QUICK = Retries(attempts=3, wait_initial=0.005, wait_max=0.01, wait_jitter=0.005, longest_retry_after=0.2)


def patience(step: object) -> Timeouts:
    """What silence of the stub is waited for: briefly where it is silent for ever, and only there."""
    if not isinstance(step, Stall):
        return CALM
    if step.after:
        return structs.replace(CALM, between_tokens=BRIEF.between_tokens)
    return structs.replace(CALM, first_token=BRIEF.first_token)


@pytest.fixture
async def model(model_stub: StubProvider) -> AsyncIterator[OpenAIModel]:
    """Whatever a test did with it, no stream may still run on the stub afterwards."""
    model = OpenAIModel(
        "gpt-4o-mini", api_key=SecretStr("sk-secret"), base_url=model_stub.url, timeouts=CALM, retries=QUICK
    )
    yield model
    await model_stub.until(lambda stub: stub.open_streams == 0)
    await model.aclose()
    await model_stub.until(lambda stub: stub.open_connections == 0)
