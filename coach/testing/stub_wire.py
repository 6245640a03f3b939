"""The stub's answers as bytes and pauses, in OpenAI's wire format."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from coach.testing import stub_script as script
from coach.testing.stub_script import FOREVER, HELD, Answer, Body, ErrorEvent, Garbage, Raw, Stall, Status

_WIDTH = 1536
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


class Response(Struct, frozen=True):
    """Bytes to write and seconds to wait, in order; then the connection is closed or used again."""

    parts: tuple[bytes | float, ...]
    is_stream: bool = False
    closes: bool = False


def chat_response(step: script.ChatStep, body: dict[str, Any]) -> Response:
    match step:
        case Status() | Raw() | Body():
            return _plain(step)
        case Stall(headers=False):
            return Response((FOREVER,), is_stream=True)
        case Answer() if not body.get("stream"):
            pause = step.first_token + (len(step.pieces) / step.rate if step.rate else 0.0)
            return Response((pause, _json_response(_completion(step, body))))
        case _:
            return _streamed(step, body)


def embedding_response(step: script.EmbeddingStep, body: dict[str, Any]) -> Response:
    match step:
        case Status() | Raw() | Body():
            return _plain(step)
        case Stall():
            return Response((FOREVER,))
        case script.Embeddings():
            return Response((step.delay, _json_response(_embeddings(step, body))))


def json_response(value: object, status: int = 200, headers: str = "") -> bytes:
    return _json_response(json.dumps(value).encode(), status, headers)


def _plain(step: Status | Raw | Body) -> Response:
    if isinstance(step, Raw):
        return Response((step.data,), closes=True)
    if isinstance(step, Body):
        return Response((_http(step.text.encode(), step.content_type),))
    retry_after = "" if step.retry_after is None else f"retry-after: {step.retry_after}\r\n"
    error = {"error": {"message": step.message, "type": "stub_error", "param": None, "code": None}}
    return Response((json_response(error, step.code, retry_after),))


def _streamed(step: Answer | Stall | Garbage | ErrorEvent, body: dict[str, Any]) -> Response:
    answer = step if isinstance(step, Answer) else Answer()
    frames = [_framed(event) for event in _events(answer, body)]
    if isinstance(step, Answer):
        return Response((*_paced(step, frames), b"0\r\n\r\n"), is_stream=True)
    sent = _STREAM_HEAD + b"".join(frames[: 1 + step.after])
    if isinstance(step, Stall):
        return Response((sent, FOREVER), is_stream=True)
    if isinstance(step, ErrorEvent):
        error = json.dumps({"error": {"message": step.message, "type": step.code, "param": None, "code": step.code}})
        return Response((sent + _framed(f"data: {error}\n\n".encode()) + b"0\r\n\r\n",), is_stream=True)
    rest = _framed(f"{step.line}\n\n".encode()) + b"".join(frames[1 + step.after :])
    return Response((sent + rest + b"0\r\n\r\n",), is_stream=True)


def _paced(answer: Answer, frames: Sequence[bytes]) -> list[bytes | float]:
    """A pause before each token, and perhaps a longer one; what no pause parts is one write."""
    between = 1 / answer.rate if answer.rate else 0.0
    last = len(answer.pieces)
    parts: list[bytes | float] = []
    waiting = _STREAM_HEAD
    for number, frame in enumerate(frames):
        pause = answer.first_token if number == 1 else between
        if 1 <= number <= last and pause:
            parts += (waiting, pause)
            waiting = b""
        if answer.held_after is not None and number == answer.held_after + 1:
            parts += (waiting, HELD)
            waiting = b""
        waiting += frame
    return [*parts, waiting]


def _events(answer: Answer, body: dict[str, Any]) -> list[bytes]:
    """The role, a token each, the finish, the usage where asked for, ``[DONE]``."""
    model = json.dumps(body.get("model", ""))
    opening = f'{{"id":"chatcmpl-stub","object":"chat.completion.chunk","created":1700000000,"model":{model},'

    def choice(delta: dict[str, str], finish: str | None = None) -> str:
        of_choice = f'{{"index":0,"delta":{json.dumps(delta)},"logprobs":null,"finish_reason":{json.dumps(finish)}}}'
        return f'data: {opening}"choices":[{of_choice}],"usage":null}}\n\n'

    events = [choice({"role": "assistant", "content": ""}), *(choice({"content": piece}) for piece in answer.pieces)]
    if answer.finish is not None:
        events.append(choice({}, answer.finish))
    if answer.has_usage and (body.get("stream_options") or {}).get("include_usage"):
        events.append(f'data: {opening}"choices":[],"usage":{json.dumps(_usage(answer, body))}}}\n\n')
    if answer.is_done:
        events.append("data: [DONE]\n\n")
    return [event.encode() for event in events]


def _completion(answer: Answer, body: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": "".join(answer.pieces), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    whole = {"id": "chatcmpl-stub", "object": "chat.completion", "created": 1700000000, "model": body.get("model", "")}
    usage = {"usage": _usage(answer, body)} if answer.has_usage else {}
    return json.dumps({**whole, "choices": [choice], **usage}).encode()


def _usage(answer: Answer, body: dict[str, Any]) -> dict[str, int]:
    asked = sum(len(str(message.get("content", "")).split()) for message in body.get("messages", []))
    given = len(answer.pieces)
    return {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}


def _embeddings(step: script.Embeddings, body: dict[str, Any]) -> bytes:
    given = body.get("input", "")
    texts = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
    vectors = [embed(_words_of(text), step.width or body.get("dimensions") or _WIDTH) for text in texts]
    vectors = vectors[: max(len(vectors) - step.missing, 0)]
    if step.has_nan and vectors:
        vectors[0] = vectors[0].copy()
        vectors[0][0] = np.nan
    is_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _base64(v) if is_base64 else v.tolist()}
        for i, v in enumerate(vectors)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return json.dumps({"object": "list", "data": data, "model": body.get("model", ""), "usage": usage}).encode()


def _words_of(text: object) -> tuple[str, ...]:
    """LangChain sends token ids instead of text; each counts as a word."""
    return tuple(str(token) for token in text) if isinstance(text, list) else tuple(str(text).lower().split())


def embed(words: Sequence[str], width: int) -> NDArray[np.float32]:
    """A unit vector: the mean of one fixed random vector a word, so that texts which share words are near."""
    total = np.sum([_word_vector(word, width) for word in words or ("",)], axis=0)
    return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


@lru_cache(4096)
def _word_vector(word: str, width: int) -> NDArray[np.float64]:
    return np.random.default_rng(crc32(word.encode())).standard_normal(width)


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def _json_response(body: bytes, status: int = 200, headers: str = "") -> bytes:
    return _http(body, "application/json", status, headers)


def _http(body: bytes, content_type: str, status: int = 200, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Stub\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body
