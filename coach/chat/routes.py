"""Chat over HTTP. What a message means and how a turn runs is decided in ``turns``; here it only gets its form."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from coach.chat.collected import FinishedTurn, collect
from coach.chat.encoders import SSE_HEADERS, Reader, sse
from coach.chat.events import Failed
from coach.chat.schemas import parse
from coach.chat.turns import Turns
from coach.http.limits import CHAT_BODY
from coach.http.negotiation import STREAM, prefers_json
from coach.http.problems import problem, require_json, respond
from coach.identity.guards import CurrentUser
from coach.values.ids import is_id

AnyRequest = Request[Any, Any, Any]


@post("/", status_code=200, request_max_body_size=CHAT_BODY, summary="Ask the coach")
async def chat(request: AnyRequest, user_id: CurrentUser, turns: NamedDependency[Turns]) -> Response[Any]:
    """The body is the AI SDK's; the answer its UI message stream v1, or one JSON object where `Accept` prefers that."""
    require_json(request)
    asked = parse(await request.body(), request.headers.get("idempotency-key"))
    reader = await turns.begin(user_id, asked)
    if prefers_json(request.headers.get("accept")):
        return await _whole(reader)
    return _stream(reader)


@get("/{conversation_id:str}/stream", summary="Resume the running answer")
async def resume(conversation_id: FromPath[str], user_id: CurrentUser, turns: NamedDependency[Turns]) -> Response[Any]:
    """All of the running turn, then live; a replay if it ended less than five minutes ago; else 204."""
    reader = await turns.resume(user_id, conversation_id) if is_id(conversation_id) else None
    return Response(None, status_code=204) if reader is None else _stream(reader)


@post("/{conversation_id:str}/stop", status_code=204, summary="Stop the running answer")
async def stop(conversation_id: FromPath[str], user_id: CurrentUser, turns: NamedDependency[Turns]) -> None:
    """What was said so far is kept, marked `interrupted`. Nothing else stops a turn; a closed connection does not."""
    if is_id(conversation_id):
        await turns.stop(user_id, conversation_id)


def _stream(reader: Reader) -> Stream:
    return Stream(sse(reader), media_type=STREAM, headers=SSE_HEADERS)


async def _whole(reader: Reader) -> Response[Any]:
    turn = await collect(reader)
    if isinstance(turn, Failed):
        return respond(problem(turn.slug, turn.detail))
    return Response[FinishedTurn](turn)


chat_router = Router("/api/chat", route_handlers=[chat, resume, stop], tags=["Chat"])
