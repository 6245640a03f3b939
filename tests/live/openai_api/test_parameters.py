"""Parameters that nobody asked for keep no model from answering; what a caller asks for is never left out."""

from __future__ import annotations

from coach.testing.stub_script import Answer
from tests.live.openai_api.conftest import completion, post

OURS = {"temperature", "max_completion_tokens"}


async def test_a_model_that_refuses_a_temperature_answers_turns_and_refuses_a_callers_own(ann, stub):
    stub.refused_parameters = {"temperature"}

    turns = [await ann.asks("How is my knee?"), await ann.asks("And now?")]
    refused = await post(ann, completion(temperature=0.3))

    assert [turn.text for turn in turns] == ["".join(Answer().pieces)] * 2
    assert refused.status_code == 503
    assert [OURS & request.body.keys() for request in stub.requests] == [
        OURS, {"max_completion_tokens"}, {"max_completion_tokens"}, {"temperature"}
    ]  # fmt: skip


async def test_a_turn_leaves_room_to_think(ann, stub):
    await ann.asks("How is my knee?")

    assert stub.requests[-1].body["max_completion_tokens"] == 8_192, "half of a context that nobody knows"
