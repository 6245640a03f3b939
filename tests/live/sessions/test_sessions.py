"""A session from its first stage to its commitments, with the offline model and a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.live.conftest import parts_of
from tests.live.sessions.conftest import Couch, prompt_of

ADVANCE, END = {"type": "advance"}, {"type": "end"}
GROW = ["goal", "reality", "options", "will"]


async def test_a_whole_grow_session_ends_in_a_summary_and_commitments(couch: Couch):
    said = await couch.starts()
    assert prompt_of(said) == "session_grow_goal@1"
    spoken = [
        "Under two hours, in Berlin, next April.",
        "I run twice a week, ten kilometres at most.",
        "My knee hurts on hills.",
        "A plan from the club.",
        "Or running with Tom.",
        "Something small first.",
        "I will book the MRI by 2031-05-02. I'll run with Tom tomorrow!",
    ]
    stages = [stage for stage in GROW for _ in range(2)]
    for text, stage, following in zip(spoken, stages[1:], [*stages[2:], "will"], strict=True):
        answer = await couch.says(text)
        assert prompt_of(answer) == f"session_grow_{stage}@1"
        await couch.until(stage=following)

    ended = await couch.until(status="ended")
    assert [(step["stage"], step["cause"]) for step in ended["steps"]] == [
        ("goal", "started"), *((stage, "judged") for stage in [*GROW[1:], "end"])
    ]  # fmt: skip
    assert "MRI" in ended["summary"]
    assert [(each["title"], each["status"]) for each in ended["commitments"]] == [
        ("Book the MRI", "proposed"),
        ("Run with Tom", "proposed"),
    ]
    assert ended["commitments"][0]["due_date"] == "2031-05-02"
    assert ended["proposed"] == 2
    assert prompt_of(await couch.says("Thank you.")) == "goal_coaching@1"


@pytest.mark.parametrize(
    ("kind", "stages"),
    [
        ("grow", GROW),
        ("daily_checkin", ["arrive", "focus", "commit"]),
        ("weekly_review", ["look_back", "learn", "look_ahead"]),
    ],
)
async def test_a_user_goes_through_the_stages_by_command(couch: Couch, kind: str, stages: list[str]):
    await couch.starts(kind)
    for stage in stages[1:]:
        assert prompt_of(await couch.says("Go on.", ADVANCE)) == f"session_{kind}_{stage}@1"
        assert (await couch.session())["stage"] == stage
    assert prompt_of(await couch.says("Go on.", ADVANCE)) == "session_closing@1"
    ended = await couch.until(status="ended")
    assert ended["stages"] == stages
    assert ended["stage"] == stages[-1]


async def test_a_free_session_has_one_stage_and_lasts_until_its_end(couch: Couch):
    assert prompt_of(await couch.starts("free")) == "session_free@1"
    for _ in range(3):
        assert prompt_of(await couch.says("Let us talk about Tom.")) == "session_free@1"
    assert (await couch.session())["status"] == "active"

    assert prompt_of(await couch.says("That is all. I will call Tom on Friday.", END)) == "session_closing@1"

    ended = await couch.until(status="ended")
    assert [each["title"] for each in ended["commitments"]] == ["Call Tom"]


async def test_beside_its_turns_a_session_costs_no_quota(couch: Couch):
    await couch.starts()
    await couch.says("Under two hours.")
    await couch.until(stage="reality")
    await couch.says("Enough.", END)
    await couch.until(status="ended")

    assert (await couch.reads("/me/quota"))["used"] == 3


async def test_a_repeated_message_takes_no_second_step(couch: Couch):
    await couch.starts(message_id="m1")
    await couch.starts(message_id="m1")
    await couch.says("On.", ADVANCE, message_id="m2")
    await couch.says("On.", ADVANCE, message_id="m2")
    answered = await couch.asks("On.", ADVANCE, message_id="m2", trigger="regenerate-message")

    assert prompt_of(answered) == "session_grow_reality@1"
    session = await couch.session()
    assert [step["cause"] for step in session["steps"]] == ["started", "advanced"]
    assert len((await couch.reads("/sessions"))["items"]) == 1


async def test_start_continues_the_running_kind_and_refuses_another(couch: Couch):
    await couch.starts()
    await couch.says("On.", ADVANCE)
    assert prompt_of(await couch.starts()) == "session_grow_reality@1"

    refused = await couch.asks("Check in", {"type": "start", "kind": "daily_checkin"})

    assert refused.status == 409
    assert refused.problem["type"] == "/problems/conflict"
    assert len((await couch.reads("/sessions"))["items"]) == 1


@pytest.mark.parametrize("command", [ADVANCE, END])
async def test_where_no_session_runs_there_is_nothing_to_advance_or_end(couch: Couch, command: dict[str, str]):
    refused = await couch.asks("On.", command)

    assert refused.status == 409
    assert (await couch.reads("/conversations"))["items"] == []
    assert (await couch.reads("/me/quota"))["used"] == 0


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("start", "session"),
        ([], "session"),
        ({}, "session.type"),
        ({"type": "pause"}, "session.type"),
        ({"type": ["start"]}, "session.type"),
        ({"type": "start"}, "session.kind"),
        ({"type": "start", "kind": "swot"}, "session.kind"),
        ({"type": "end", "kind": 7}, "session.kind"),
    ],
)
async def test_a_command_that_is_none_is_named(couch: Couch, command: Any, path: str):
    refused = await couch.asks("Hello", command)

    assert refused.status == 422
    assert [error["path"] for error in refused.problem["errors"]] == [path]
    assert (await couch.reads("/sessions"))["items"] == []


async def test_a_turn_that_is_refused_takes_no_step(couch: Couch, owner: Any):
    await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, 1)", (couch.person.user_id,))
    await couch.starts()

    refused = await couch.asks("On.", ADVANCE)

    assert refused.status == 429
    assert (await couch.session())["stage"] == "goal"


async def test_lists_come_in_pages_and_by_conversation_and_state(couch: Couch):
    for number in range(3):
        other = Couch(couch.person, f"c{number}")
        await other.starts("free")
    await Couch(couch.person, "c0").says("Done.", END)
    seen, cursor = [], ""
    while True:
        page = await couch.reads(f"/sessions?limit=1{cursor}")
        seen += [item["conversation_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == ["c2", "c1", "c0"]
    assert len((await couch.reads("/sessions?limit=200"))["items"]) == 3
    assert [s["conversation_id"] for s in (await couch.reads("/sessions?active=true"))["items"]] == ["c2", "c1"]
    assert [s["conversation_id"] for s in (await couch.reads("/sessions?active=false"))["items"]] == ["c0"]
    assert (await couch.reads("/sessions?conversation_id=nowhere"))["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "active=maybe"])
async def test_what_a_list_does_not_take_is_refused(couch: Couch, query: str):
    refused = await couch.send("GET", f"/sessions?{query}")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == query.split("=", maxsplit=1)[0]


async def test_a_summary_is_remembered_corrected_and_forgotten_like_all_that_was_said(couch: Couch):
    await couch.starts("free", "The regatta in Kiel is what I train for.")
    await couch.says("I will mend the spinnaker by 2031-05-02.", END)
    ended = await couch.until(status="ended")
    remembered = (await couch.reads("/memory?source=conversation"))["items"]
    memory = next(each for each in remembered if each["content"] == ended["summary"])
    found = (await couch.reads("/search?q=regatta+spinnaker&domain=conversation"))["items"]
    assert f"conversation:{memory['id']}" in [each["source_id"] for each in found]

    path = f"/memory/conversation/{memory['id']}"
    assert (await couch.send("PATCH", path, json={"content": "Kiel is off."})).status_code == 200
    assert (await couch.session())["summary"] == "Kiel is off."
    assert (await couch.send("DELETE", path)).status_code == 204
    assert (await couch.session())["summary"] is None
    assert (await couch.session())["status"] == "ended"


async def test_the_summary_of_an_incognito_session_is_shown_and_never_remembered(couch: Couch, owner: Any):
    await couch.starts("free", "The regatta is a secret.", incognito=True)
    await couch.says("Done.", END)
    assert "regatta" in (await couch.until(status="ended"))["summary"]

    assert (await couch.reads("/memory"))["items"] == []
    assert (await couch.reads("/search?q=regatta"))["items"] == []
    queued = await owner.execute("select 1 from embedding_queue where user_id = %s", (couch.person.user_id,))
    assert await queued.fetchall() == []


async def test_without_consent_a_summary_is_shown_and_never_remembered(couch: Couch, owner: Any):
    await owner.execute(
        "insert into user_analytics_preferences (user_id, record_rag_snippets) values (%s, false)",
        (couch.person.user_id,),
    )
    await couch.starts("free", "The regatta is mine.")
    await couch.says("Done.", END)
    assert "regatta" in (await couch.until(status="ended"))["summary"]

    assert (await couch.reads("/memory"))["items"] == []
    assert (await couch.reads("/search?q=regatta"))["items"] == []


async def test_a_summary_is_no_answer_that_could_be_resumed(couch: Couch):
    await couch.starts("free")
    last = await couch.says("Done.", END)
    await couch.until(status="ended")

    resumed = await couch.person.gets(f"/api/chat/{couch.conversation}/stream")

    assert parts_of(resumed.text)[0]["messageId"] == last.first("start")["messageId"]


async def test_a_deleted_conversation_takes_its_sessions_along(couch: Couch):
    await couch.starts("free")
    await couch.says("I will call Tom.", END)
    ended = await couch.until(status="ended")
    await couch.send("DELETE", f"/conversations/{couch.conversation}")

    assert (await couch.reads("/sessions"))["items"] == []
    path = f"/commitments/{ended['commitments'][0]['id']}/accept"
    assert (await couch.send("POST", path)).status_code == 404
