"""Chat over HTTP. What a message means and how a turn runs is decided in ``turns``; here it only gets its form."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.response import Stream

from coach.chat.collected import FinishedTurn, collect
from coach.chat.encoders import SSE_HEADERS, Reader, sse
from coach.chat.events import Failed
from coach.chat.examples import FINISHED_TURN, REQUEST
from coach.chat.examples import STREAM as EXAMPLE
from coach.chat.schemas import KEY, ChatBody, requested
from coach.chat.turns import Turns
from coach.errors import Conflict, EmbedderUnavailable, ModelUnavailable, NotFound, QuotaExhausted
from coach.http.declared import as_json, as_stream, declares
from coach.http.limits import CHAT_BODY
from coach.http.negotiation import STREAM, prefers_json
from coach.http.problems import problem, respond
from coach.identity.guards import CurrentUser
from coach.values.ids import is_id

AnyRequest = Request[Any, Any, Any]
STREAMED = as_stream("Server-sent events: one JSON part a data: line, then [DONE].", example=EXAMPLE)


@post(
    "/",
    status_code=200,
    request_max_body_size=CHAT_BODY,
    summary="Ask the coach",
    response_description="The answer: a UI message stream v1, or with Accept: application/json one object.",
    response_headers=[ResponseHeader(name="x-vercel-ai-ui-message-stream", value="v1", documentation_only=True)],
    **declares(
        ChatBody,
        example=REQUEST,
        headers=KEY,
        answers=(STREAMED, as_json(FinishedTurn, example=FINISHED_TURN)),
        problems=(NotFound, Conflict, QuotaExhausted, ModelUnavailable, EmbedderUnavailable),
    ),
)
async def chat(
    request: AnyRequest, sent: NamedDependency[ChatBody], user_id: CurrentUser, turns: NamedDependency[Turns]
) -> Response[Any]:
    """The body is the AI SDK's; the answer its UI message stream v1, or one JSON object where `Accept` prefers that."""
    reader = await turns.begin(user_id, requested(sent, request.headers.get("idempotency-key")))
    if prefers_json(request.headers.get("accept")):
        return await _whole(reader)
    return _stream(reader)


@get(
    "/{conversation_id:str}/stream",
    summary="Resume the running answer",
    response_description="The stream from its start.",
    responses={204: ResponseSpec(None, description="Nothing to resume.")},
    **declares(answers=(STREAMED,)),
)
async def resume(conversation_id: FromPath[str], user_id: CurrentUser, turns: NamedDependency[Turns]) -> Response[Any]:
    """All of the running turn, then live; a replay if it ended less than five minutes ago; else 204."""
    reader = await turns.resume(user_id, conversation_id) if is_id(conversation_id) else None
    return Response(None, status_code=204) if reader is None else _stream(reader)


@post("/{conversation_id:str}/stop", status_code=204, summary="Stop the running answer", **declares())
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
