"""The stock AI SDK, unchanged: versions 5, 6 and 7 over HTTP, and 7 over a socket."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from coach.testing.stub_script import Answer
from tests.live.sockets.cutting import BreakingProxy

WORDS = 60
ANSWER = Answer(tokens=WORDS, rate=60)


def words(message):
    return len(message["text"].split())


def roles(told):
    return [message["role"] for message in told["messages"]]


def assert_whole(told, at=-1):
    assert told["status"] == "ready"
    assert words(told["messages"][at]) == WORDS


@pytest.mark.parametrize(("version", "over"), [("ai5", "http"), ("ai6", "http"), ("ai7", "http"), ("ai7", "socket")])
async def test_the_stock_client_can_do_all_that_it_does(ann, coach_url, stub, run_client, owner, version, over):
    stub.always(Answer(text="Rest."))
    await ann.asks("My knee hurts when I run down hills near Potsdam.", id="before")
    stub.always(ANSWER)

    async with AsyncExitStack() as stack:
        cut = {
            way: (await stack.enter_async_context(BreakingProxy(coach_url))).url for way in ("resume", "retry", "plain")
        }
        provider = f"http://127.0.0.1:{stub.port}"
        found = await run_client(
            "ai.mjs", version=version, over=over, url=coach_url, cut=cut, token=ann.token, provider=provider
        )

    sent, regenerated, edited = found["sent"], found["regenerated"], found["edited"]
    for told in (sent, regenerated, edited):
        assert roles(told) == ["user", "assistant"]
        assert_whole(told)
    assert {"data-context", "source-document", "text"} <= set(sent["types"])
    assert sent["data"].count("data-quota") == 1
    metadata = sent["messages"][1]["metadata"]
    assert metadata["conversation_id"] == "main"
    assert metadata["user_message_id"] == sent["messages"][0]["id"]
    assert metadata["usage"]["output_tokens"] == WORDS
    answers = {told["messages"][1]["id"] for told in (sent, regenerated, edited)}
    assert len(answers) == 3, "a regeneration and an edit are answers of their own"
    assert edited["messages"][0]["text"] == "And about my shoulder?"

    assert words(found["left"]["messages"][-1]) < WORDS
    assert_whole(found["resumed"])
    assert roles(found["resumed"]) == ["user", "assistant"]
    assert 0 < words(found["stopped"]["messages"][-1]) < WORDS
    assert found["stopped"]["messages"][-1]["metadata"]["status"] == "interrupted"

    for way in ("resume", "retry"):
        assert found[way]["broken"]["status"] == "error"
        assert 0 < words(found[way]["broken"]["messages"][-1]) < WORDS
        assert_whole(found[way]["after"])
        assert roles(found[way]["after"]) == ["user", "assistant"]
    # Version 5 takes a replay for what comes next, and puts it behind the part that it has.
    assert (words(found["plain"]["messages"][-1]) == WORDS) == (version != "ai5")

    assert found["nothing"]["messages"] == []
    assert [words(each) for each in found["both"]] == [WORDS, WORDS]
    assert found["both"][0]["id"] != found["both"][1]["id"]
    assert found["again"] == found["both"][0]
    assert "/problems/invalid-input" in found["refused"]

    # One turn for: before, sent, regenerated, edited, left, stopped, cut three times, both; none for any replay.
    rows = await owner.execute("select status from ai_interactions where user_id = %s", (ann.user_id,))
    assert len(await rows.fetchall()) == stub.calls == 11
