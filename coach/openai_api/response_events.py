"""A turn's events as the responses API streams them: typed events with sequence numbers."""

from __future__ import annotations

from typing import Any

import msgspec

from coach.chat.events import Event, Failed, Finished, Interrupted, Started, Terminal, TextDelta
from coach.openai_api.response_objects import (
    Facts,
    OutputMessage,
    OutputText,
    ResponseObject,
    response_object,
    status_of,
)

PIECE = 8
"""Characters of a delta. Cut by the text alone and not as the tokens came, so that every reader, on another server
process or long after the end, counts the same events: ``starting_after`` then means the same place in the text."""

_json = msgspec.json.Encoder().encode


class ResponseEvents:
    """Events to frames of the stream; those up to the number ``after`` are counted and left out."""

    def __init__(self, facts: Facts, after: int = -1) -> None:
        self._facts, self._after = facts, after
        self._number = 0
        self._answer = ""
        self._pieces: list[str] = []
        self._rest = ""
        self._is_open = False
        self._delta = b""

    def encode(self, event: Event) -> list[bytes]:
        match event:
            case TextDelta(text):
                return self._say(text)
            case Started():
                self._answer = event.message_id
                running = self._response(None)
                return [
                    *self._frame("response.created", response=running),
                    *self._frame("response.in_progress", response=running),
                ]
            case Finished() | Interrupted() | Failed():
                closed = self._close(event)
                return [*closed, *self._frame(f"response.{status_of(event)}", response=self._response(event))]
            case _:
                return []

    def _say(self, text: str) -> list[bytes]:
        opening = [] if self._is_open else self._open()
        waiting = self._rest + text
        whole = len(waiting) - len(waiting) % PIECE
        self._rest = waiting[whole:]
        for at in range(0, whole, PIECE):
            opening += self._delta_frame(waiting[at : at + PIECE])
        return opening

    def _delta_frame(self, piece: str) -> list[bytes]:
        """The most frequent event, so its constant parts are encoded only once."""
        number, self._number = self._number, self._number + 1
        self._pieces.append(piece)
        return [self._delta % (number, _json(piece))] if number > self._after else []

    def _open(self) -> list[bytes]:
        self._is_open = True
        where = _json({"item_id": self._answer, "output_index": 0, "content_index": 0, "logprobs": []})[1:]
        self._delta = (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            b'"sequence_number":%d,"delta":%b,' + where.replace(b"%", b"%%") + b"\n\n"
        )
        return [
            *self._frame("response.output_item.added", output_index=0, item=OutputMessage(self._answer, "in_progress")),
            *self._frame("response.content_part.added", **self._where(), part=OutputText("")),
        ]

    def _close(self, ending: Terminal) -> list[bytes]:
        if not self._is_open:
            return []
        frames = self._delta_frame(self._rest) if self._rest else []
        text = "".join(self._pieces)
        item = self._response(ending).output[0]
        frames += self._frame("response.output_text.done", **self._where(), text=text, logprobs=[])
        frames += self._frame("response.content_part.done", **self._where(), part=OutputText(text))
        frames += self._frame("response.output_item.done", output_index=0, item=item)
        return frames

    def _response(self, ending: Terminal | None) -> ResponseObject:
        return response_object(self._facts, self._answer, "".join(self._pieces), ending, has_output=self._is_open)

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._answer, "output_index": 0, "content_index": 0}

    def _frame(self, kind: str, **content: Any) -> list[bytes]:
        number, self._number = self._number, self._number + 1
        if number <= self._after:
            return []
        event = {"type": kind, "sequence_number": number, **content}
        return [b"event: " + kind.encode() + b"\ndata: " + _json(event) + b"\n\n"]
