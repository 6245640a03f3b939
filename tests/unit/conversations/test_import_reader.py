"""Imports as they arrive: in pieces of any size, larger than memory, and broken anywhere."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coach.chat.schemas import MAX_TEXT
from coach.conversations.exports import is_export
from coach.conversations.import_reader import MAX_NODES, MAX_VALUE, ImportReader
from coach.conversations.import_schemas import MAX_MESSAGES
from coach.conversations.json_stream import Closed, JsonStream, MalformedJson, decode
from coach.conversations.spool import Spool
from coach.errors import InvalidInput
from coach.http.limits import IMPORT_BODY

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(*pieces: bytes) -> Any:
    spool = Spool()
    reader = ImportReader(spool, NOW)
    for piece in pieces:
        reader.feed(piece)
    found, errors = reader.finish()
    texts = [[spool.read(message.text) for message in each.messages] for each in found]
    spool.close()
    return texts, [error.path for error in errors]


def own(content: str = "x", id_: str = "m", **more: Any) -> dict[str, Any]:
    return {"id": id_, "role": "user", "content": content, **more}


def body(*messages: Any) -> bytes:
    return json.dumps({"conversations": [{"id": "c", "messages": list(messages)}]}).encode()


def test_pieces_of_any_size_are_the_whole() -> None:
    whole = body(own('a "quoted" \\ text {[', "a"), own("ü😀\\", "b"), own("", "c")) + b" \n"
    expected = ([['a "quoted" \\ text {[', "ü😀\\"]], ["conversations[0].messages[2].content"])

    for size in (1, 2, 3, 7, 64, len(whole)):
        assert read(*(whole[at : at + size] for at in range(0, len(whole), size))) == expected


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab"\\{}[],:é😀\n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"\\é', max_size=3), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200)
@given(value=values, size=st.integers(1, 9), depth=st.integers(0, 3), escapes=st.booleans())
def test_the_stream_tells_every_value_by_its_path(value: Any, size: int, depth: int, escapes: bool) -> None:
    text = json.dumps(value, ensure_ascii=escapes).encode()
    stream = JsonStream(lambda path, _: len(path) < depth, 10_000)
    events = [event for at in range(0, len(text), size) for event in stream.feed(text[at : at + size])]
    events += stream.finish()

    for path, raw in events:
        found = value
        for name in path:
            found = found[name]
        assert isinstance(raw, Closed) or decode(raw) == found
    assert events[-1][0] == ()


MALFORMED = [
    b"", b" ", b"[", b"{", b"]", b"}", b"[1,]", b'{"a":}', b'{"a":1,}', b'{"a" 1}', b"{1:2}", b"[1 2]", b"[,1]", b"[]]",
    b"[] []", b'"', b'"a', b"[}", b"{]", b'{"a":1]',
    b'{"a"}', b"'a'", b"[1}", b'{,"a":1}', b"\xff", b"[:1]", b'["a":1]',
]  # fmt: skip


def read_stream(*pieces: bytes) -> None:
    stream = JsonStream(lambda path, _: len(path) < 2, 100)
    for piece in pieces:
        list(stream.feed(piece))
    list(stream.finish())


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_json_is_told_from_what_is(text: bytes) -> None:
    for size in (1, max(1, len(text))):
        with pytest.raises(MalformedJson):
            read_stream(*(text[at : at + size] for at in range(0, len(text), size)))


@pytest.mark.parametrize("endless", [b'{"' + b"a" * 200, b"1" * 2_000])
def test_a_name_or_a_number_without_end_is_not_waited_for(endless: bytes) -> None:
    with pytest.raises(MalformedJson):
        list(JsonStream(lambda path, _: len(path) < 2, 100).feed(endless))


def peak_of(pieces: Iterable[bytes]) -> tuple[Any, int]:
    """What is read of an import, and the most memory that it took meanwhile."""
    tracemalloc.start()
    try:
        return read(*pieces), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("filling", [b"x" * 65_536, rb"\ud83d\ude00" * 5_000, rb"\\" * 30_001])
def test_a_value_past_its_bound_is_passed_over_and_named_and_the_next_is_read(filling: bytes) -> None:
    before, _, after = body(own("a", "a"), own("HUGE", "huge"), own("b", "b")).partition(b"HUGE")

    found, peak = peak_of((before, *[filling] * 600, after))

    assert found == ([["a", "b"]], ["conversations[0].messages[1]"])
    assert peak < 4 * MAX_VALUE


def promised(count: int) -> Iterator[bytes]:
    """The largest messages that the limits promise: every character as the escapes of two halves."""
    yield b'{"conversations": [{"id": "c", "messages": ['
    for number in range(count):
        name = json.dumps("😀" * 200)
        content = rf"\ud83d\ude{number % 64:02x}" * MAX_TEXT
        message = f'{{"id": "{number:0128}", "role": "assistant", "name": {name}, "content": "{content}"}}'.encode()
        yield (b"," if number else b"") + message
    yield b"]}]}"


def test_what_is_promised_fits_into_a_call_and_never_stands_in_memory_whole() -> None:
    spool, size, count = Spool(), 0, 80
    reader = ImportReader(spool, NOW)
    tracemalloc.start()
    try:
        for piece in promised(count):
            size += len(piece)
            reader.feed(piece)
        (found,), errors = reader.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (len(found.messages), errors) == (count, [])
    assert len(spool.read(found.messages[-1].text)) == MAX_TEXT
    assert 0.9 * IMPORT_BODY < size * MAX_MESSAGES / count <= IMPORT_BODY
    assert peak < size / 4
    spool.close()


def tree(count: int, **message: Any) -> dict[str, Any]:
    nodes = {f"n{n}": {"id": f"n{n}", "parent": f"n{n - 1}" if n else None, "message": message} for n in range(count)}
    return {"id": "g", "mapping": nodes}


def test_the_nodes_of_an_export_have_a_bound_of_their_own() -> None:
    assert read(
        json.dumps([tree(3, author={"role": "user"}, content={"content_type": "text", "parts": ["x"]})]).encode()
    )

    with pytest.raises(InvalidInput, match="without a text"):
        read(json.dumps([tree(MAX_NODES)]).encode())
    with pytest.raises(InvalidInput, match="nodes, the most a call"):
        read(json.dumps([tree(MAX_NODES + 1)]).encode())


def test_messages_of_an_export_count_like_others() -> None:
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["x"]}}

    assert len(read(json.dumps([tree(MAX_MESSAGES, **message)]).encode())[0][0]) == MAX_MESSAGES
    with pytest.raises(InvalidInput, match="messages, the most a call"):
        read(json.dumps([tree(MAX_MESSAGES + 1, **message)]).encode())


def test_the_fields_of_a_conversation_may_come_after_its_messages() -> None:
    head = {"messages": [own()], "id": "c", "title": "T", "created_at": "2025-01-01T00:00:00Z"}
    reader = ImportReader(Spool(), NOW)
    reader.feed(json.dumps([head]).encode())

    ((found,), _) = reader.finish()

    assert (found.key, found.title, found.created_at.year, found.messages[0].said_at.year) == ("c", "T", 2025, 2025)


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert read(b"\xef\xbb\xbf" + body(own())) == ([["x"]], [])


def test_escaped_names_are_names() -> None:
    message = json.dumps(own()).encode()

    found = read(rb'{"conversat\u0069ons": [{"\u0069d": "c", "messag\u0065s": [' + message + b"]}]}")

    assert found == ([["x"]], [])


def test_a_message_that_stands_twice_with_one_text_is_one_and_with_two_a_fault() -> None:
    assert read(body(own("x"), own("x"))) == ([["x"]], [])
    assert read(body(own("x"), own("y"))) == ([["x"]], ["conversations[0].messages[1].id"])


def test_nodes_may_be_an_object_or_a_list_wherever_they_are() -> None:
    question = {"id": "q", "parent": None, "role": "user", "content": "Knee?"}
    nodes = [question, {"id": "a", "parent": "q", "role": "assistant", "content": "Rest."}]

    for some in (nodes, {each["id"]: each for each in nodes}):
        for exported in ({"mapping": some}, {"chat_messages": some}, {"chat": {"history": {"messages": some}}}):
            assert read(json.dumps([exported | {"id": "c"}]).encode()) == ([["Knee?", "Rest."]], [])
            assert is_export(exported)
