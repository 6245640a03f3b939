"""The stock openai package for JavaScript, unchanged."""

from __future__ import annotations

import pytest

from coach.testing.stub_script import Answer


@pytest.mark.usefixtures("patience")
async def test_the_javascript_client_understands_every_answer(ann, coach_url, cutting, stub, rows, run_client):
    stub.always(Answer(text="Rest today."))

    found = await run_client("openai.mjs", url=coach_url, token=ann.token, cut=cutting.url)

    assert found["models"][0] == "coach"
    assert found["model"] == "coach/goal_coaching"
    assert found["whole"]["choices"][0]["message"]["content"] == "Rest today."
    choices = [chunk["choices"][0] for chunk in found["chunks"][:-1]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "Rest today."
    assert found["chunks"][-1]["usage"]["completion_tokens"] == 2
    assert found["assembled"] == "Rest today."
    assert found["response"]["status"] == "completed"
    assert found["response"]["text"] == found["retrieved"] == found["followed"] == "Rest today."
    assert [event["sequence_number"] for event in found["events"]] == list(range(len(found["events"])))
    assert found["events"][-1]["type"] == "response.completed"
    assert found["refusals"] == {
        "model": refusal("NotFoundError", 404, "model_not_found", "model"),
        "n": refusal("BadRequestError", 400, "unsupported_parameter", "n"),
        "token": refusal("AuthenticationError", 401, "invalid_api_key"),
        "response": refusal("NotFoundError", 404, "not_found"),
    }
    assert found["retried"] == "Rest today."
    assert cutting.connections == 2
    assert stub.calls == len(await rows(ann).interactions()) == 7
    assert await rows(ann).quota() == (7, 0)


def refusal(name, status, code, param=None):
    return {"name": name, "status": status, "code": code, "param": param, "type": "invalid_request_error"}


async def test_the_ai_sdks_openai_provider_talks_for_three_turns(ann, coach_url, stub, rows, run_client):
    stub.will(Answer(text="Rest today."), Answer(text="Walk a little."), Answer(text="Run."))

    found = await run_client("ai-openai.mjs", url=coach_url, token=ann.token)

    assert found["texts"] == ["Rest today.", "Walk a little.", "Run."]
    # it sends its earlier answers as references to what is stored here
    assert found["kinds"][2] == ["user", "item_reference", "user", "item_reference", "user"]
    told = [(message["role"], message["content"]) for message in stub.requests[-1].body["messages"][1:-1]]
    assert told == [
        ("user", "My knee hurts."), ("assistant", "Rest today."), ("user", "And tomorrow?"),
        ("assistant", "Walk a little."),
    ]  # fmt: skip
    assert await rows(ann).quota() == (3, 0)
