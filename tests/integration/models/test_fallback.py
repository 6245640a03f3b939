"""The next model is asked as long as no word came, and never afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec import Struct
from pydantic import SecretStr

from coach.errors import Misconfigured
from coach.models import loading
from coach.models.base import Loading
from coach.models.configure import Models
from coach.models.fallback import FallbackModel
from coach.models.offline import OfflineModel
from coach.models.openai import OpenAIModel, Retries
from coach.settings import ModelLimits
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Body, ErrorEvent, Garbage, Stall, Status
from tests.integration.models.conftest import BRIEF, CALM, patience
from tests.stub.answers import ASK, ask

ONCE = Retries(attempts=1)


@pytest.fixture
async def chain(model_stub: StubProvider) -> AsyncIterator[FallbackModel]:
    first, second = (
        OpenAIModel(name, api_key=None, base_url=model_stub.url, timeouts=CALM, retries=ONCE) for name in ("a", "b")
    )
    yield FallbackModel("a", lambda: [first, second, OfflineModel()])
    await model_stub.until(lambda stub: stub.open_streams == 0)
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize(
    "bad", [Status(500), Status(401), Stall(), Stall(headers=False), Garbage(), ErrorEvent(), Answer("")]
)
async def test_the_next_model_answers_and_is_named(chain, model_stub, bad):
    chain._models[0]._timeouts = patience(bad)
    model_stub.will(bad, Answer("Rest."))

    ending = await ask(chain)

    assert ending.text == "Rest."
    assert ending.completion.model == "b"
    assert [request.body["model"] for request in model_stub.requests] == ["a", "b"]


async def test_with_every_provider_down_the_offline_model_answers(chain, model_stub):
    model_stub.always(Status(503))

    assert (await ask(chain)).completion.model == "offline"


@pytest.mark.parametrize("bad", [Stall(after=1), Garbage(after=1), ErrorEvent(after=1)])
async def test_half_an_answer_is_never_joined_to_another_models(chain, model_stub, bad):
    chain._models[0]._timeouts = patience(bad)
    model_stub.will(bad)

    ending = await ask(chain)

    assert ending.text == "one "
    assert ending.failure is not None
    assert model_stub.calls == 1


async def test_thoughts_without_an_answer_are_no_reason_to_stop(chain, model_stub):
    thought = '{"choices":[{"delta":{"reasoning_content":"hm"},"finish_reason":"length"}]}'
    model_stub.will(Body(f"data: {thought}\n\ndata: [DONE]\n\n", "text/event-stream"), Answer("Rest."))

    ending = await ask(chain)

    assert (ending.reasoning, ending.text, ending.completion.model) == ("hm", "Rest.", "b")


async def test_loading_is_said_once_whichever_models_load(chain, model_stub, monkeypatch):
    monkeypatch.setattr(loading, "LOADING_AFTER", 0.05)
    monkeypatch.setattr(chain._models[0], "_timeouts", BRIEF)
    monkeypatch.setattr(chain._models[0], "_may_load", True)
    model_stub.will(Stall(), Answer("Rest.", first_token=0.5))

    pieces = [piece async for piece in chain.stream(ASK)]

    assert (pieces[0], pieces.count(Loading())) == (Loading(), 1)
    assert pieces[-1].model == "b"


async def test_a_good_answer_asks_no_other_model(chain, model_stub):
    assert (await ask(chain)).completion.model == "a"
    assert model_stub.calls == 1


async def test_the_last_failure_is_reported(model_stub):
    only = [OpenAIModel(n, api_key=None, base_url=model_stub.url, timeouts=CALM, retries=ONCE) for n in ("a", "b")]
    model_stub.will(Status(401), Status(404))
    chain = FallbackModel("a", lambda: only)

    assert "404" in str((await ask(chain)).failure)
    for model in only:
        await model.aclose()


async def test_closing_the_stream_closes_the_one_that_answers(chain, model_stub):
    model_stub.will(Status(500), Answer(tokens=2_000, rate=100))
    events = chain.stream(ASK)
    await anext(events)

    await events.aclose()

    await model_stub.until(lambda stub: stub.closed_early == 1 and stub.open_streams == 0)


def test_the_prompt_has_to_fit_the_smallest(chain):
    assert chain.context_tokens == 16_384
    assert chain.name == "a"


class Configured(Struct):
    """What an operator set."""

    chat_model_name: str = "offline"
    fallback_models: tuple[str, ...] = ()
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    model_limits: dict[str, ModelLimits] = {}
    turn_timeout: float = 5.0


async def test_a_request_may_choose_any_configured_model_and_falls_back_to_those_behind_it(model_stub):
    models = Models(
        Configured(chat_model_name="a", fallback_models=("b:8b", "offline"), openai_base_url=model_stub.url)
    )
    model_stub.always(Status(400))

    assert list(models) == ["a", "b:8b", "offline"]
    assert (await ask(models["b:8b"])).completion.model == "offline"
    assert [request.body["model"] for request in model_stub.requests] == ["b:8b"]
    await models.aclose()


async def test_an_openai_model_by_provider_goes_through_langchain_with_our_key(model_stub):
    models = Models(
        Configured("openai:gpt-4o-mini", openai_api_key=SecretStr("sk-ours"), openai_base_url=model_stub.url)
    )

    ending = await ask(models.default)

    assert ending.completion.model == "openai:gpt-4o-mini"
    assert model_stub.requests[-1].headers["authorization"] == "Bearer sk-ours"
    await models.aclose()
    await model_stub.until(lambda stub: stub.open_connections == 0)


@pytest.mark.parametrize(
    ("configured", "variable", "why"),
    [
        (Configured("gpt-4o"), "COACH_CHAT_MODEL", "COACH_OPENAI_API_KEY"),
        (Configured("offline", ("gpt-4o",)), "COACH_FALLBACK_MODELS", "COACH_OPENAI_API_KEY"),
        (Configured("anthropic:claude-sonnet-4-5"), "COACH_CHAT_MODEL", "langchain-anthropic"),
        (Configured("openai:gpt-4o"), "COACH_CHAT_MODEL", "COACH_OPENAI_API_KEY"),
    ],
)
def test_a_model_that_cannot_be_had_stops_the_start_with_one_line(configured, variable, why):
    with pytest.raises(Misconfigured) as stopped:
        Models(configured).connect()

    assert str(stopped.value).startswith(variable)
    assert why in str(stopped.value)
    assert "Example:" in str(stopped.value)
    assert "\n" not in str(stopped.value)
