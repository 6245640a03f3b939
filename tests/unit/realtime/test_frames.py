"""Frames, without a socket."""

from __future__ import annotations

import json

import pytest

from coach.chat.events import Finished, Started, TextDelta
from coach.errors import InvalidInput
from coach.models.base import Usage
from coach.realtime.frames import (
    MAX_CHUNK_CHARACTERS,
    AbortFrame,
    Reply,
    SendFrame,
    merged,
    push_frame,
    read_frame,
    request_id_of,
)
from coach.realtime.origin import is_allowed_origin

STARTED = Started("a1", "c1", "m1", "i1", "offline", "goal_coaching/1")
FINISHED = Finished("stop", Usage(1, 2), 3, 4)


def frames(reply, *batches):
    return [json.loads(frame) for batch in batches for frame in reply.chunks(batch)]


def test_chunks_are_numbered_through_all_batches():
    found = frames(Reply("r1"), [STARTED], [TextDelta("a"), TextDelta("b")], [], [TextDelta("c"), FINISHED])

    assert [frame["sequence"] for frame in found] == list(range(len(found)))
    kinds = [frame["chunk"]["type"] for frame in found]
    assert kinds == ["start", "text-start", "text-delta", "text-delta", "text-end", "finish"]


def test_text_that_waits_together_is_one_chunk_up_to_a_size():
    texts = [event.text for event in merged([TextDelta("x" * 10_000), TextDelta("y" * 10_000), TextDelta("z")])]

    assert [len(text) for text in texts] == [MAX_CHUNK_CHARACTERS, 20_001 - MAX_CHUNK_CHARACTERS]
    assert "".join(texts) == "x" * 10_000 + "y" * 10_000 + "z"
    assert [len(event.text) for event in merged([TextDelta("é" * MAX_CHUNK_CHARACTERS * 2)])] == [
        MAX_CHUNK_CHARACTERS,
        MAX_CHUNK_CHARACTERS,
    ]


def test_text_stays_before_what_came_after_it():
    assert list(merged([TextDelta("a"), FINISHED])) == [TextDelta("a"), FINISHED]
    assert list(merged([])) == []


def test_a_request_id_of_any_characters_comes_back_as_it_was():
    name = 'a"b\\c\né\u2028'
    reply = Reply(name)

    answers = [reply.start(), reply.end(), reply.no_active(), reply.error(b'{"a":"\\""}'), *reply.chunks([STARTED])]

    assert [json.loads(answer)["requestId"] for answer in answers] == [name] * 5
    assert json.loads(json.loads(answers[3])["errorText"]) == {"a": '"'}


def test_a_push_cannot_take_another_request_id():
    assert json.loads(push_frame({"type": "nudge", "requestId": "r1"})) == {"type": "nudge", "requestId": "$push"}


def test_unknown_fields_are_passed_over_and_headers_found_in_any_case():
    frame = read_frame(
        b'{"type":"send","requestId":"r","messages":[],"metadata":{"x":[]},"headers":{"X-A":"1","x-b":2}}'
    )

    assert isinstance(frame, SendFrame)
    assert (frame.header("x-a"), frame.header("x-b"), frame.header("x-c")) == ("1", None, None)
    assert read_frame(b'{"requestId":"r","type":"abort","x":1}') == AbortFrame("r")


@pytest.mark.parametrize(
    "sent", [b'{"requestId":"r1"}', b'{"requestId":"r1","type":7}', b'{"requestId":"r1","type":"x"}']
)
def test_the_error_of_a_wrong_frame_has_its_request_id(sent):
    with pytest.raises(InvalidInput):
        read_frame(sent)
    assert request_id_of(sent) == "r1"


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "expected"),
    [
        (b"http://coach.example", b"coach.example", "ws", True),
        (b"https://coach.example", b"coach.example", "ws", True),
        (b"https://coach.example", b"coach.example", "wss", True),
        (b"http://coach.example", b"coach.example", "wss", False),
        (b"https://coach.example:443", b"coach.example", "wss", False),
        (b"https://Coach.example", b"coach.example", "wss", False),
        (b"https://xn--cach-5ua.example", "cöach.example".encode(), "wss", False),
        (b"null", b"coach.example", "wss", False),
        (b"http://[::1]:8000", b"[::1]:8000", "ws", True),
    ],
)
def test_an_origin_is_welcome_only_as_a_browser_writes_it(origin, host, scheme, expected):
    assert is_allowed_origin([(b"host", host), (b"origin", origin)], scheme, ()) is expected


def test_without_a_host_or_with_two_no_page_is_our_own():
    for hosts in ([], [b"a.example", b"a.example"]):
        headers = [(b"origin", b"https://a.example"), *((b"host", host) for host in hosts)]
        assert not is_allowed_origin(headers, "wss", ())
