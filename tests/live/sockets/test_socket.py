"""``/ws/chat`` as its clients see it: requests, several at once, and what is refused."""

from __future__ import annotations

import asyncio
import json

import pytest

from coach.testing.stub_script import Answer, Status
from tests.live.sockets.conftest import problem_of, text_of


async def test_an_answer_comes_in_numbered_chunks_between_start_and_end(ann, opens, stub):
    stub.always(Answer(text="Rest today."))
    wire = await opens(ann)

    await wire.asks("r1")
    frames = (await wire.answer("r1"))["r1"]

    assert [frame["type"] for frame in frames] == ["start", *["chunk"] * (len(frames) - 2), "end"]
    chunks = [frame for frame in frames if frame["type"] == "chunk"]
    assert [frame["sequence"] for frame in chunks] == list(range(len(chunks)))
    kinds = [frame["chunk"]["type"] for frame in chunks]
    assert kinds[:3] == ["start", "data-quota", "data-context"]
    assert kinds[-2:] == ["text-end", "finish"]
    assert text_of(frames) == "Rest today."
    assert wire.socket.subprotocol == "coach.v1"


async def test_several_turns_are_in_flight_on_one_socket(ann, opens, stub):
    stub.always(Answer(tokens=40, held_after=3))
    wire = await opens(ann)

    for name in ("r1", "r2", "r3"):
        await wire.asks(name, id=f"c-{name}")
    found = {"r1": [], "r2": [], "r3": []}
    while not all(map(text_of, found.values())):  # none waits for another to end
        frame = await wire.hears()
        found.get(frame["requestId"], []).append(frame)
    stub.go_on()
    for name, rest in (await wire.answer(*found)).items():
        found[name] += rest

    assert {text_of(frames) for frames in found.values()} == {"".join(Answer(tokens=40).pieces)}
    for frames in found.values():
        chunks = [frame["sequence"] for frame in frames if frame["type"] == "chunk"]
        assert chunks == list(range(len(chunks)))


async def test_an_abort_detaches_and_the_turn_goes_on(ann, opens, stub):
    stub.always(Answer(tokens=60, rate=100))
    wire = await opens(ann)
    await wire.asks("r1")
    await wire.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")

    await wire.sends(type="abort", requestId="r1")
    await wire.sends(type="resume", requestId="r2", id="c1")
    after = await wire.until(lambda f: f["requestId"] == "r2" and f["type"] == "end")

    begun = next(place for place, f in enumerate(after) if f["requestId"] == "r2")
    assert not [f for f in after[begun:] if f["requestId"] == "r1"]
    resumed = [f for f in after if f["requestId"] == "r2"]
    assert resumed[0]["type"] == "start"
    assert resumed[1]["sequence"] == 0
    assert resumed[1]["chunk"]["type"] == "start"
    assert len(text_of(resumed).split()) == 60
    assert stub.calls == 1


async def test_a_socket_that_is_cut_leaves_its_turn_to_be_resumed_on_another(ann, opens, stub):
    stub.always(Answer(tokens=60, rate=100))
    wire = await opens(ann)
    await wire.asks("r1")
    await wire.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")
    wire.socket.transport.abort()

    other = await opens(ann)
    await other.sends(type="resume", requestId="r2", id="c1", lastSequence=7, headers={}, body={})
    frames = (await other.answer("r2"))["r2"]

    assert len(text_of(frames).split()) == 60
    assert frames[-2]["chunk"]["type"] == "finish"


async def test_nothing_that_runs_is_no_active(person, opens, stub):
    stub.will(Answer(held_after=1))
    ann, ben = await person(), await person()
    hers = await opens(ann)
    await hers.asks("r1", id="hers")
    await hers.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")
    wire = await opens(ben)

    for name, conversation in (("r1", "never-seen"), ("r2", "hers"), ("r3", "what is this?")):
        await wire.sends(type="resume", requestId=name, id=conversation, headers={}, body={})
        assert (await wire.answer(name))[name] == [{"type": "no-active", "requestId": name}]
    stub.go_on()
    await hers.answer("r1")


async def test_a_repeated_message_is_replayed_and_costs_nothing(ann, opens, stub, client):
    stub.always(Answer(text="Rest today."))
    wire = await opens(ann)
    await wire.asks("r1", message_id="m1")
    await wire.answer("r1")

    await wire.asks("r2", message_id="m1")

    assert text_of((await wire.answer("r2"))["r2"]) == "Rest today."
    assert stub.calls == 1
    assert (await ann.gets("/api/me/quota")).json()["used"] == 1


async def test_body_and_headers_of_a_frame_count(ann, opens, stub):
    wire = await opens(ann)
    body = {"feature": "today_priorities"}
    await wire.asks("r1", id=None, headers={"Idempotency-Key": "k1"}, body=body)
    first = (await wire.answer("r1"))["r1"]
    await wire.asks("r2", id=None, message_id="m-r1", headers={"idempotency-key": "k1"}, body=body)
    second = (await wire.answer("r2"))["r2"]

    assert first[1]["chunk"]["messageMetadata"]["prompt"].startswith("today_priorities")
    assert second[1]["chunk"]["messageId"] == first[1]["chunk"]["messageId"]
    assert stub.calls == 1


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        ({"type": "send"}, "messages"),
        ({"type": "send", "messages": []}, "messages"),
        ({"type": "send", "messages": [{"role": "user", "parts": []}]}, "messages[0].parts"),
        ({"type": "send", "messages": [{"role": "assistant", "parts": []}]}, "messages[0].role"),
        ({"type": "send", "messages": [], "body": []}, "body"),
        ({"type": "send", "messages": [], "body": {"session": 7}}, "body.session"),
        ({"type": "send", "messages": [], "body": {"session": {"type": "start"}}}, "body.session.kind"),
        ({"type": "resume"}, "id"),
        ({"type": "dance"}, "type"),
        ({}, "type"),
    ],
)
async def test_a_malformed_frame_gets_an_error_with_its_path_and_the_socket_lives(ann, opens, stub, frame, path):
    wire = await opens(ann)

    await wire.sends(requestId="r1", **frame)
    problem = problem_of((await wire.answer("r1"))["r1"][0])

    assert problem["type"] == "/problems/invalid-input"
    assert problem["errors"][0]["path"] == path
    await wire.asks("r2")
    assert (await wire.answer("r2"))["r2"][-1]["type"] == "end"


@pytest.mark.parametrize(
    "sent",
    ["", "{", "7", "[]", "[" * 100_000, b"\xff\xfe", '{"type":"abort"}', '{"type":"abort","requestId":"$push"}',
     '{"type":"abort","requestId":""}', '{"type":"abort","requestId":7}'],
)  # fmt: skip
async def test_the_error_of_a_frame_without_a_request_id_is_a_push(ann, opens, stub, sent):
    wire = await opens(ann)

    await wire.socket.send(sent)
    frame = await wire.hears()

    assert frame["requestId"] == "$push"
    assert problem_of(frame)["type"] == "/problems/invalid-input"


async def test_what_http_refuses_the_socket_refuses_with_the_same_problem(person, opens, stub, owner):
    ann = await person()
    wire = await opens(ann)
    await wire.asks("r1", "Hello", message_id="m1")
    await wire.answer("r1")
    await wire.asks("r2", "Something else", message_id="m1")
    conflict = problem_of((await wire.answer("r2"))["r2"][0])
    await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, 1)", (ann.user_id,))
    await wire.asks("r3", "More?")
    exhausted = problem_of((await wire.answer("r3"))["r3"][0])

    assert (conflict["type"], conflict["status"]) == ("/problems/conflict", 409)
    assert (exhausted["type"], exhausted["limit"], exhausted["used"]) == ("/problems/quota-exhausted", 1, 1)
    assert exhausted["instance"]
    assert stub.calls == 1


async def test_a_turn_that_fails_ends_in_an_error_part_and_not_in_an_error_frame(ann, opens, stub):
    stub.always(Status(400))
    wire = await opens(ann)

    await wire.asks("r1")
    frames = (await wire.answer("r1"))["r1"]

    assert [frame["chunk"]["type"] for frame in frames if frame["type"] == "chunk"][-2:] == [
        "message-metadata",
        "error",
    ]
    assert frames[-1]["type"] == "end"


async def test_a_request_id_in_use_is_refused_and_at_most_sixteen_are_open(ann, opens, stub):
    stub.always(Answer(held_after=1))
    wire = await opens(ann)
    for place in range(16):
        await wire.asks(f"r{place}", id=f"c{place}")
    await wire.asks("r0", id="again")
    assert problem_of((await wire.until(lambda f: f["type"] == "error"))[-1])["type"] == "/problems/conflict"

    await wire.asks("r16", id="c16")
    refused = (await wire.until(lambda f: f["type"] == "error"))[-1]

    assert refused["requestId"] == "r16"
    assert problem_of(refused)["type"] == "/problems/rate-limited"
    stub.go_on()
    await wire.answer(*(f"r{place}" for place in range(1, 16)))


async def test_the_address_takes_nothing_but_websockets(client):
    response = await client.get("/ws/chat")

    assert response.status_code == 400
    assert response.json()["type"] == "/problems/refused"


async def test_a_history_of_megabytes_is_read_past_and_eight_mebibytes_are_the_end(ann, opens, stub):
    wire = await opens(ann)
    old = {"id": "old", "role": "assistant", "parts": [{"type": "text", "text": "x" * 100_000}]}
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}
    await wire.sends(type="send", requestId="r1", id="long", messages=[*[old] * 80, message])
    assert (await wire.answer("r1"))["r1"][-1]["type"] == "end"

    with pytest.raises(Exception):  # noqa: B017, PT011 - it may still be sending when the other side hangs up
        await asyncio.gather(wire.socket.send(json.dumps({"x": "y" * 8 * 1024 * 1024})), _fails(wire))


async def _fails(wire):
    code, _ = await wire.closed()
    assert code == 1009
    raise ConnectionError
