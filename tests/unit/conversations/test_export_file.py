"""Files that people have: read, told what is wrong with them, and cut into pieces that one call takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from coach.chat.schemas import MAX_TEXT
from coach.conversations.export_file import UnreadableExport, pieces, read_export
from coach.http.limits import IMPORT_BODY


def conversation(id_: str, count: int, content: str = "x", **more: Any) -> dict[str, Any]:
    at = "2025-03-01T12:00:00Z"
    messages = [{"id": f"m{n}", "role": "user", "content": content, "created_at": at} for n in range(count)]
    return {"id": id_, "title": id_, "messages": messages, **more}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_our_own_form_a_list_of_it_and_chatgpts_are_read(tmp_path: Path) -> None:
    own = [conversation("c", 2)]
    gpt = [{"id": "g", "mapping": {}, "title": "G"}]

    assert read_export(written(tmp_path / "a.json", {"conversations": own})) == own
    assert read_export(written(tmp_path / "b.json", own)) == own
    assert [each["id"] for each in read_export(written(tmp_path / "c.json", gpt))] == ["g"]


def test_a_zip_is_opened_and_every_part_of_the_export_read(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("export/conversations-000.json", json.dumps([conversation("a", 1)]))
        archive.writestr("export/conversations-001.json", json.dumps([conversation("b", 1)]))
        archive.writestr("export/user.json", "{}")
        archive.writestr("export/shared_conversations.json", "[]")

    assert [each["id"] for each in read_export(tmp_path / "export.zip")] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "neither JSON nor a zip"),
        (b"hello", "neither JSON nor a zip"),
        (b"\x89PNG\r\n\x1a\n\xff", "neither JSON nor a zip"),
        (b"[" * 100_000, "neither JSON nor a zip"),
        (b"{}", "no list of conversations"),
        (b"[1]", "no list of conversations"),
        (b'[{"name": "x"}]', "no list of conversations"),
        (b'{"conversations": {}}', "no list of conversations"),
        (b"[]", "holds no conversations"),
        (b"PK\x05\x06" + b"\0" * 18, "zip without a conversations.json"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)

    with pytest.raises(UnreadableExport, match=said) as caught:
        read_export(file)

    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf" + json.dumps([conversation("a", 1)]).encode())

    assert len(read_export(tmp_path / "f")) == 1


def test_pieces_hold_everything_once_and_each_fits_into_a_call() -> None:
    conversations = [
        conversation("a", 3),
        conversation("b", 1_201),
        conversation("c", 30, "ü" * 20_000),
        conversation("e", 0),
    ]

    parts = list(pieces(conversations))

    assert all(len(part.body) <= IMPORT_BODY for part in parts)
    assert all(sum(len(c["messages"]) for c in part.conversations) <= 500 for part in parts)
    put_together: dict[str, int] = {}
    for part in parts:
        for each in part.conversations:
            put_together[each["id"]] = put_together.get(each["id"], 0) + len(each["messages"])
    assert put_together == {"a": 3, "b": 1_201, "c": 30, "e": 0}
    assert [part.body for part in parts] == [part.body for part in pieces(conversations)]


def test_a_path_in_a_piece_becomes_one_of_the_file() -> None:
    first, second, third = pieces([conversation("a", 3), conversation("b", 1_200)])

    assert first.in_file("conversations[1].messages[4].role") == "conversations[1].messages[4].role"
    assert second.in_file("conversations[0].messages[4].role") == "conversations[1].messages[501].role"
    assert third.in_file("conversations[0].id") == "conversations[1].id"
    assert third.in_file("body") == "body"


def test_a_message_that_fits_into_no_call_does_not_keep_the_others_back() -> None:
    whole = conversation("a", 2)
    whole["messages"].insert(1, {"id": "big", "role": "user", "content": "x" * 1_000_000})

    (part,) = pieces([whole])

    assert len(part.conversations[0]["messages"][1]["content"]) == MAX_TEXT + 1


def test_messages_without_a_time_get_one_that_keeps_their_order(tmp_path: Path) -> None:
    told = {"id": "c", "messages": [{"id": str(n), "role": "user", "content": "x"} for n in range(3)]}
    told["messages"][1]["created_at"] = "2025-03-01T12:00:00Z"

    (found,) = read_export(written(tmp_path / "f", [told]))

    times = [message["created_at"] for message in found["messages"]]
    assert times[1:] == ["2025-03-01T12:00:00Z", "2025-03-01T12:00:00.000001+00:00"]
    assert times[0] < times[1]
