"""Stock Python clients, unchanged: the openai package, LangChain's ``ChatOpenAI``, the ``llm`` command."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta

import openai
import pytest
import yaml

from coach.testing.stub_script import Answer, ErrorEvent, Status

ASKED = {"model": "coach", "messages": [{"role": "user", "content": "How is it going?"}]}


async def test_the_async_client_asks_and_streams(ann, sdk, stub):
    stub.always(Answer(text="Rest today."))
    client = sdk(ann)

    whole = await client.chat.completions.create(**ASKED)
    stream = await client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    assert whole.choices[0].message.content == "Rest today."
    assert whole._request_id
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Rest today."
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert "coach/task" in [model.id async for model in client.models.list()]
    assert (await client.models.retrieve("coach/today_priorities")).id == "coach/today_priorities"


async def test_the_assembling_helper_understands_every_chunk(ann, sdk, stub):
    stub.will(Answer(text="Rest today."))

    async with sdk(ann).chat.completions.stream(**ASKED) as stream:
        kinds = [event.type async for event in stream]
        whole = await stream.get_final_completion()

    assert "content.delta" in kinds
    assert whole.choices[0].message.content == "Rest today."


async def test_the_sync_client_asks_and_streams(ann, coach_url, stub):
    stub.always(Answer(text="Rest today."))

    def use():
        with openai.OpenAI(base_url=f"{coach_url}/v1", api_key=ann.token, max_retries=0) as client:
            whole = client.chat.completions.create(**ASKED)
            chunks = list(client.chat.completions.create(**ASKED, stream=True))
            return whole.choices[0].message.content, "".join(c.choices[0].delta.content or "" for c in chunks)

    assert await asyncio.to_thread(use) == ("Rest today.", "Rest today.")


async def test_responses_are_given_streamed_and_had_again(ann, sdk, stub):
    stub.always(Answer(text="Rest today."))
    client = sdk(ann)

    given = await client.responses.create(model="coach", input="Hello", instructions="Be brief.")
    async with client.responses.stream(model="coach", input="More", previous_response_id=given.id) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    resumed = await client.responses.retrieve(final.id, stream=True, starting_after=4)

    assert given.output_text == final.output_text == "Rest today."
    assert (await client.responses.retrieve(given.id)).output_text == "Rest today."
    assert events[-1].type == "response.completed"
    assert [event.sequence_number async for event in resumed] == list(range(5, events[-1].sequence_number + 1))


async def test_every_refusal_is_the_right_exception(ann, sdk, stub, owner, token_for):
    client = sdk(ann)

    async def refused(kind, call):
        with pytest.raises(kind) as caught:
            await call
        return caught.value

    create = client.chat.completions.create
    assert (await refused(openai.BadRequestError, create(**ASKED, n=2))).param == "n"
    assert (await refused(openai.NotFoundError, create(**ASKED | {"model": "gpt-4"}))).code == "model_not_found"
    await refused(openai.NotFoundError, client.responses.retrieve("resp_absent"))
    strangers = openai.AsyncOpenAI(base_url=client.base_url, api_key="wrong", max_retries=0)
    assert (await refused(openai.AuthenticationError, strangers.models.list())).code == "invalid_api_key"
    ann.token = token_for(ann.user_id, ttl=timedelta(minutes=-5))
    await refused(openai.AuthenticationError, sdk(ann).models.list())
    ann.token = token_for(ann.user_id, role="service_role")
    await refused(openai.PermissionDeniedError, sdk(ann).models.list())
    stub.will(*[Status(500)] * 3)
    assert (await refused(openai.InternalServerError, create(**ASKED))).code == "model_unavailable"
    stub.will(ErrorEvent(after=2))
    stream = await create(**ASKED, stream=True)
    with pytest.raises(openai.APIError, match="language model"):
        [chunk async for chunk in stream]
    await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, 0)", (ann.user_id,))
    stub.reset()
    persistent = client.with_options(max_retries=3)
    spent = await refused(openai.RateLimitError, persistent.chat.completions.create(**ASKED))
    assert spent.code == "insufficient_quota"
    assert spent.response.request.headers["x-stainless-retry-count"] == "0", "it was asked again in vain"


@pytest.mark.parametrize("step", [Answer(text="Only once."), Answer(text="Only once, and slowly.", rate=4)])
@pytest.mark.usefixtures("patience")
async def test_a_retry_after_a_cut_connection_is_one_turn(ann, sdk, stub, rows, cutting, step):
    """A quick answer is lost on its way back; a slow one still runs when the client asks again."""
    stub.will(step)

    answer = await sdk(ann, cutting.url, max_retries=2).chat.completions.create(**ASKED)

    assert answer.choices[0].message.content == step.text
    assert cutting.connections == 2
    assert stub.calls == 1
    assert await rows(ann).quota() == (1, 0)
    assert len(await rows(ann).messages()) == 2


@pytest.mark.usefixtures("patience")
async def test_a_client_that_loses_patience_finds_its_turn_still_running(ann, sdk, stub, rows):
    stub.will(Answer(text="Worth the wait, at last.", rate=2))

    answer = await sdk(ann, timeout=1.5, max_retries=2).chat.completions.create(**ASKED)

    assert answer.choices[0].message.content == "Worth the wait, at last."
    assert stub.calls == 1
    assert await rows(ann).quota() == (1, 0)


async def test_langchain_invokes_streams_and_remembers(ann, coach_url, stub):
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    stub.always(Answer(text="Rest today."))
    model = ChatOpenAI(model="coach", base_url=f"{coach_url}/v1", api_key=ann.token, max_retries=0, temperature=0.1)
    talk = [SystemMessage("Be brief."), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage("What now?")]

    whole = await model.ainvoke(talk)
    chunks = [chunk async for chunk in model.astream(talk, stream_usage=True)]
    as_response = await ChatOpenAI(
        model="coach", base_url=f"{coach_url}/v1", api_key=ann.token, max_retries=0, use_responses_api=True
    ).ainvoke(talk)

    assert whole.content == "".join(chunk.content for chunk in chunks) == "Rest today."
    assert whole.usage_metadata["total_tokens"] > 0
    assert whole.response_metadata["finish_reason"] == "stop"
    assert as_response.text == "Rest today."
    assert [m["role"] for m in stub.requests[0].body["messages"]] == ["system", "user", "assistant", "user"]
    with pytest.raises(openai.BadRequestError, match="tools"):
        await model.bind_tools([{"name": "f", "description": "d", "parameters": {}}]).ainvoke("x")


async def test_the_llm_command_asks_streams_and_continues(ann, coach_url, stub, tmp_path):
    models = [{"model_id": "coach", "model_name": "coach", "api_base": f"{coach_url}/v1", "api_key_name": "coach"}]
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path)}

    async def llm(*arguments):
        command = [sys.executable, "-m", "llm", *arguments]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, err.decode()
        return out.decode().strip()

    stub.will(Answer(text="Streamed."), Answer(text="At once."), Answer(text="Continued."))
    await llm("keys", "set", "coach", "--value", ann.token)

    assert "coach" in await llm("models")
    assert await llm("-m", "coach", "How is it going?", "-s", "Be brief.") == "Streamed."
    assert await llm("-m", "coach", "--no-stream", "And now?", "-o", "temperature", "0.1") == "At once."
    assert await llm("-c", "Go on.") == "Continued."
    assert [m["role"] for m in stub.requests[-1].body["messages"]] == ["system", "user", "assistant", "user"]
