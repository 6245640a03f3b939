"""An OpenAI-compatible endpoint over a real socket, when it answers and in all the ways it does not."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import pytest
import structlog
from msgspec import structs
from pydantic import SecretStr

from coach.models import tokens
from coach.models.base import ChatMessage, ModelOptions, Usage
from coach.models.openai import OpenAIModel
from coach.testing.stub_provider import StubProvider
from coach.testing.stub_script import Answer, Body, ErrorEvent, Garbage, Raw, Stall, Status
from tests.integration.models.conftest import CALM, QUICK, patience
from tests.stub.answers import ASK, ask


async def test_an_answer_comes_in_pieces_with_the_providers_usage(model, model_stub):
    model_stub.will(Answer("Book the MRI today. " + "And rest. " * 2_000, rate=100), Answer("Rest."))

    text = ""
    async with aclosing(model.stream(ASK)) as events:
        async for event in events:  # a busy machine gets several words at once
            text += event.text
            if len(text) >= len("Book the MRI"):
                break
    await model_stub.until(lambda stub: stub.closed_early == 1)  # its end was not waited for
    ending = await ask(model)

    assert text.startswith("Book the MRI")
    assert ending.completion.usage == Usage(6, 1)
    assert ending.completion.model == "gpt-4o-mini"


async def test_the_payload_is_chat_openais(model, model_stub):
    options = ModelOptions(temperature=0.2, top_p=0.9, max_tokens=50, stop=("END",), seed=7)

    await ask(model, options=options)

    sent = model_stub.requests[-1]
    assert sent.headers["authorization"] == "Bearer sk-secret"
    assert sent.body == {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a coach."},
            {"role": "user", "content": "What next?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.2,
        "top_p": 0.9,
        "max_completion_tokens": 50,
        "stop": ["END"],
        "seed": 7,
    }


async def test_what_the_caller_leaves_open_is_not_sent(model, model_stub):
    await ask(model)

    assert model_stub.requests[-1].body.keys() == {"model", "messages", "stream", "stream_options"}


async def test_usage_is_counted_where_the_provider_sends_none(model, model_stub):
    model_stub.will(Answer("Book the MRI today.", has_usage=False))

    usage = (await ask(model)).completion.usage

    asked = sum(model.count_tokens(message.content) + tokens.MESSAGE_OVERHEAD for message in ASK)
    assert usage == Usage(asked, model.count_tokens("Book the MRI today."), counted=True)


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content-filter"), ("function_call", "other")],
)
async def test_finish_reasons_are_ours(model, model_stub, finish, reason):
    model_stub.will(Answer(finish=finish))

    assert (await ask(model)).completion.reason == reason


async def test_done_without_a_finish_reason_is_an_answer(model, model_stub):
    model_stub.will(Answer("Rest.", finish=None))

    ending = await ask(model)

    assert (ending.text, ending.completion.reason) == ("Rest.", "other")


async def test_an_end_without_done_or_finish_reason_is_a_cut(model, model_stub):
    model_stub.will(Answer("Rest and", finish=None, is_done=False, has_usage=False))

    ending = await ask(model)

    assert ending.text == "Rest and"
    assert "broke off" in str(ending.failure)


@pytest.mark.parametrize("bad", [Status(429), Status(500), Status(503), Status(408), Garbage(), ErrorEvent(), Raw(b"")])
async def test_before_the_first_token_it_asks_again(model, model_stub, bad):
    model_stub.will(bad, bad, Answer("Rest."))

    assert (await ask(model)).text == "Rest."
    assert model_stub.calls == 3


@pytest.mark.parametrize("headers", [True, False])
async def test_a_stall_before_the_first_token_is_given_up_and_asked_again(model, model_stub, headers):
    model._timeouts = patience(Stall())
    model_stub.will(Stall(headers=headers))
    model_stub.always(Answer("Rest."))
    asking = asyncio.create_task(ask(model))
    await model_stub.until(lambda stub: stub.closed_early == 1)
    model._timeouts = CALM  # the answer may come late

    assert (await asking).text == "Rest."


async def test_after_the_last_attempt_it_is_unavailable(model, model_stub):
    model_stub.always(Status(500))

    ending = await ask(model)

    assert "500" in str(ending.failure)
    assert model_stub.calls == QUICK.attempts


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
async def test_what_cannot_get_better_is_asked_once(model, model_stub, code):
    model_stub.will(Status(code, message="sk-secret is wrong for http://127.0.0.1"))

    ending = await ask(model)

    assert model_stub.calls == 1
    assert str(code) in str(ending.failure)
    assert "sk-secret" not in str(ending.failure)
    assert "127.0.0.1" not in str(ending.failure)


async def test_retry_after_is_waited_for(model, model_stub):
    model_stub.will(Status(429, retry_after=0.15), Answer("Rest."))
    started = asyncio.get_running_loop().time()

    await ask(model)

    assert asyncio.get_running_loop().time() - started >= 0.15


@pytest.mark.parametrize("wish", [60, "inf", "nan", "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_a_wait_beyond_reason_is_not_waited_for(model, model_stub, wish):
    model_stub.will(Status(429, retry_after=wish))

    assert (await ask(model)).failure is not None
    assert model_stub.calls == 1


@pytest.mark.parametrize("wish", ["soon", "-5", "Fri, 31 Dec 1999 23:59:59 GMT"])
async def test_a_wish_that_means_nothing_does_not_keep_it_from_asking_again(model, model_stub, wish):
    model_stub.will(Status(503, retry_after=wish), Answer("Rest."))

    assert (await ask(model)).text == "Rest."


@pytest.mark.parametrize("bad", [Stall(after=3), Garbage(after=3), ErrorEvent(after=3)])
async def test_after_the_first_token_it_never_asks_again(model, model_stub, bad):
    model._timeouts = patience(bad)
    model_stub.will(bad)

    ending = await ask(model)

    assert ending.text == "one small honest "
    assert ending.failure is not None
    assert model_stub.calls == 1


@pytest.mark.parametrize("finish", ["stop", "length", None])
async def test_an_answer_without_a_word_is_none(model, model_stub, finish):
    model_stub.will(Answer("", finish=finish))

    assert ("answer_tokens" if finish == "length" else "empty answer") in str((await ask(model)).failure)


@pytest.mark.parametrize(
    "body", [Body("{}"), Body("<html>Login</html>", "text/html"), Body(""), Body('{"error": "no"}')]
)
async def test_a_body_that_is_no_stream_is_no_answer(model, model_stub, body):
    model_stub.always(body)

    ending = await ask(model)

    assert ending.text == ""
    assert ending.failure is not None


async def test_a_dead_endpoint_is_unavailable():
    model = OpenAIModel("m", api_key=None, base_url="http://127.0.0.1:9/v1", timeouts=CALM, retries=QUICK)

    ending = await ask(model)
    await model.aclose()

    assert "cannot be reached" in str(ending.failure)


async def test_the_whole_answer_has_a_time_limit(model_stub):
    """As long as this machine needs for a first word."""
    model_stub.always(Answer(tokens=2_000, rate=50))
    for seconds in (0.3, 1.5, 7.5):
        timeouts = structs.replace(CALM, total=seconds)
        hasty = OpenAIModel("m", api_key=None, base_url=model_stub.url, timeouts=timeouts)
        ending = await ask(hasty)
        await hasty.aclose()
        assert ending.failure is not None
        if ending.text:
            break

    assert ending.text


@pytest.mark.parametrize(
    "refused", [{"stream_options"}, {"max_completion_tokens"}, {"stream_options", "max_completion_tokens"}]
)
async def test_an_endpoint_that_rejects_newer_parameters_is_asked_in_older_words(model, model_stub, refused):
    model_stub.refused_parameters = refused
    options = ModelOptions(max_tokens=5)

    first, second = await ask(model, options=options), await ask(model, options=options)

    assert first.text == second.text != ""
    assert model_stub.calls == len(refused) + 2
    assert not refused & model_stub.requests[-1].body.keys()
    assert 5 in (
        model_stub.requests[-1].body.get("max_tokens"),
        model_stub.requests[-1].body.get("max_completion_tokens"),
    )


async def test_closing_the_stream_closes_the_upstream_at_once(model, model_stub):
    model_stub.will(Answer(tokens=1_000, rate=100))
    events = model.stream(ASK)
    await anext(events)

    await events.aclose()

    await model_stub.until(lambda stub: stub.closed_early == 1 and stub.open_streams == 0)


@pytest.mark.parametrize("step", [Stall(headers=False), Stall(), Stall(after=2), Answer(tokens=1_000, rate=100)])
async def test_a_cancelled_task_closes_the_upstream_at_once(model_stub, step):
    patient = OpenAIModel("m", api_key=None, base_url=model_stub.url, retries=QUICK)
    model_stub.will(step)
    asking = asyncio.create_task(ask(patient))
    await model_stub.until(lambda stub: stub.open_streams == 1)
    await asyncio.sleep(0.05)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await model_stub.until(lambda stub: stub.closed_early == 1 and stub.open_connections == 0)
    await patient.aclose()


async def test_connections_are_used_again(model, model_stub):
    for _ in range(5):
        await ask(model)

    assert model_stub.open_connections == 1


async def test_fifty_answers_at_once_do_not_mix(model, model_stub: StubProvider):
    model_stub.will(*(Answer(f"answer {n} of fifty", rate=300) for n in range(50)))

    endings = await asyncio.gather(*(ask(model) for _ in range(50)))

    assert {ending.text for ending in endings} == {f"answer {n} of fifty" for n in range(50)}


async def test_nul_in_an_answer_is_left_out_for_the_database(model, model_stub):
    model_stub.will(Answer("Re\0st."))

    assert (await ask(model)).text == "Rest."


async def test_neither_key_nor_prompt_reach_the_log_or_the_repr(model, model_stub):
    model_stub.always(Status(500, message="you sent: my diary"))

    with structlog.testing.capture_logs() as logs:
        ending = await ask(model, (ChatMessage("user", "my diary"),))

    assert logs, "retries are told"
    for told in (repr(logs), repr(model), repr(ending.failure)):
        assert "my diary" not in told
        assert "sk-secret" not in told


@contextmanager
def left_open() -> Iterator[list[str]]:
    """Names of the async generators that nobody closed before the garbage collector came for them."""
    hooks, found = sys.get_asyncgen_hooks(), []
    sys.set_asyncgen_hooks(finalizer=lambda generator: found.append(generator.__qualname__))
    yield found
    sys.set_asyncgen_hooks(*hooks)


async def test_nothing_is_left_for_the_garbage_collector(model, model_stub, recwarn):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with left_open() as left:
        for step in (
            Answer(),
            Stall(after=1),
            Garbage(after=1),
            Stall(headers=False),
            Status(401),
            Raw(b"HTTP/1.1 200 OK\r\n"),
        ):
            model._timeouts = patience(step)
            model_stub.will(step)
            await ask(model)
        model._timeouts = CALM
        model_stub.will(Answer(tokens=1_000, rate=100))
        events = model.stream(ASK)
        await anext(events)
        await events.aclose()
        del events

        gc.collect()
        await asyncio.sleep(0.01)

    # httpcore leaves some of its own behind, with the connection closed already; none that we opened may be.
    assert not {"OpenAIModel.stream", "Response.aiter_bytes"} & set(left)
    assert complaints == []
    assert [str(w.message) for w in recwarn if issubclass(w.category, ResourceWarning | RuntimeWarning)] == []
    assert len(asyncio.all_tasks()) == 1


def test_a_key_is_not_needed_where_a_local_endpoint_wants_none(model_stub):
    assert OpenAIModel("llama3:8b", api_key=None, base_url=model_stub.url).context_tokens == 16_384


def test_a_known_model_brings_its_context(model_stub):
    known = OpenAIModel("gpt-4o-mini", api_key=SecretStr("k"), base_url=model_stub.url)

    assert known.context_tokens == 128_000
