"""``/v1``: the coach for clients of OpenAI's protocols. Only ``stream`` decides between a stream and one object."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from coach.chat.events import Finished, Interrupted
from coach.chat.schemas import KEY, ChatRequest
from coach.chat.turns import Reader, Turns
from coach.database.pool import Database
from coach.errors import Conflict, EmbedderUnavailable, InvalidInput, ModelUnavailable, NotFound, QuotaExhausted
from coach.http.declared import Refusals, as_json, as_stream, declares
from coach.http.limits import CHAT_BODY
from coach.identity.guards import CurrentUser
from coach.openai_api.calls import Call, completion_call, input_messages, response_call
from coach.openai_api.chunks import (
    STOPPED,
    Chunks,
    CompleteAnswer,
    Completion,
    completion,
    read_complete_answer,
    whole_response,
)
from coach.openai_api.errors import OpenAIError, UnknownModel, error_of_ending
from coach.openai_api.messages import referenced
from coach.openai_api.models import MODELS, Model, ModelList
from coach.openai_api.repository import answers_by_id, stored_response
from coach.openai_api.response_events import ResponseEvents
from coach.openai_api.response_objects import ResponseObject, snapshot_response
from coach.openai_api.schemas import CompletionBody, ResponseBody
from coach.openai_api.sending import ClientLeft, streamed, unless_left
from coach.openai_api.turns import IncomingCall, completion_request, facts_of, response_request
from coach.openai_api.ui_tasks import MOST_TEXT, UiTasks

AnyRequest = Request[Any, Any, Any]
PROBLEMS = (NotFound, Conflict, QuotaExhausted, ModelUnavailable, EmbedderUnavailable)
HEADERS = {"X-Conversation-ID": "The conversation in which the turn is stored; left out, one a day.", **KEY}
ANSWERED = "The answer: one object, or with stream: true a stream, whatever Accept says."
EVENTS = as_stream("Typed events with sequence numbers.")
REFUSALS = Refusals(
    kind=OpenAIError,
    media_type="application/json",
    description="A refusal in OpenAI's shape; code and param say which.",
    statuses={422: 400},
)


@get("/models", summary="What may be named as a model", sync_to_thread=False, **declares())
def models() -> ModelList:
    """`coach`, one entry a feature, and `coach/task` for a chat UI's own calls (titles, tags, follow-ups)."""
    return ModelList(tuple(MODELS.values()))


@get("/models/{model:path}", summary="One of them", sync_to_thread=False, **declares(problems=(NotFound,)))
def model(model: FromPath[str]) -> Model:
    """The name may hold a slash."""
    name = model.removeprefix("/")
    if name not in MODELS:
        raise UnknownModel(name)
    return MODELS[name]


@post(
    "/chat/completions",
    status_code=200,
    request_max_body_size=CHAT_BODY,
    summary="Ask, as a chat completion",
    response_description=ANSWERED,
    **declares(
        CompletionBody,
        example={"model": "coach", "messages": [{"role": "user", "content": "What now?"}]},
        headers=HEADERS,
        answers=(as_json(Completion), as_stream("Chunks, one a data: line, then [DONE].")),
        problems=PROBLEMS,
    ),
)
async def completions(
    *,
    request: AnyRequest,
    sent: NamedDependency[CompletionBody],
    user_id: CurrentUser,
    db: NamedDependency[Database],
    turns: NamedDependency[Turns],
    ui_tasks: NamedDependency[UiTasks],
) -> Response[Any]:
    """The messages are the history; system messages are data. Unknown fields are ignored."""
    arrived, call = await _incoming_call(request, user_id, turns), completion_call(sent)
    asked = await completion_request(db, arrived, call, call.feature) if call.feature else None
    reader, headers = await _begin(turns, ui_tasks, user_id, call, asked)
    if call.is_streamed:
        return streamed(reader, Chunks(call.model, has_usage=call.has_usage_chunk), headers)
    return await _whole(request, reader, partial(completion, call.model), headers)


@post(
    "/responses",
    status_code=200,
    request_max_body_size=CHAT_BODY,
    summary="Ask, as a response",
    response_description=ANSWERED,
    **declares(
        ResponseBody,
        example={"model": "coach", "input": "What now?"},
        headers=HEADERS,
        answers=(as_json(ResponseObject), EVENTS),
        problems=PROBLEMS,
    ),
)
async def responses(
    *,
    request: AnyRequest,
    sent: NamedDependency[ResponseBody],
    user_id: CurrentUser,
    db: NamedDependency[Database],
    turns: NamedDependency[Turns],
    ui_tasks: NamedDependency[UiTasks],
) -> Response[Any]:
    """Text in, text out. `previous_response_id` or `conversation` put what is stored before the input."""
    arrived, messages = await _incoming_call(request, user_id, turns), input_messages(sent)
    call = response_call(sent, messages, await answers_by_id(db, user_id, referenced(messages)))
    facts = facts_of(call)
    asked = await response_request(db, arrived, call, call.feature, facts) if call.feature else None
    reader, headers = await _begin(turns, ui_tasks, user_id, call, asked)
    if call.is_streamed:
        return streamed(reader, ResponseEvents(facts), headers)
    return await _whole(request, reader, partial(whole_response, facts), headers)


@get(
    "/responses/{response_id:str}",
    summary="A stored response",
    **declares(answers=(as_json(ResponseObject), EVENTS), problems=(NotFound,)),
)
async def stored(
    response_id: FromPath[str],
    user_id: CurrentUser,
    *,
    db: NamedDependency[Database],
    turns: NamedDependency[Turns],
    stream: FromQuery[bool] = False,
    starting_after: Annotated[int | None, QueryParameter(ge=0, description="Leave out the events up to this.")] = None,
) -> Response[Any]:
    """As it stands; with `stream` its events, those of a running one as they come."""
    found = await stored_response(db, user_id, response_id)
    if stream:
        after = -1 if starting_after is None else starting_after
        return streamed(turns.follow(user_id, found.answer_id), ResponseEvents(found.facts, after), {})
    if starting_after is not None:
        raise InvalidInput("starting_after", "needs stream=true.")
    return Response(snapshot_response(found.facts, await turns.snapshot(user_id, found.answer_id)))


async def _incoming_call(request: AnyRequest, user_id: UUID, turns: Turns) -> IncomingCall:
    return IncomingCall(user_id, request.scope["path"], request.headers, await request.body(), turns.clock())


async def _begin(
    turns: Turns, ui_tasks: UiTasks, user_id: UUID, call: Call, asked: ChatRequest | None
) -> tuple[Reader, dict[str, str]]:
    """The answer's reader, and the headers of its response."""
    if asked is None:
        return ui_tasks.begin(user_id, call.said.within(MOST_TEXT), call.options), {}
    return await turns.begin(user_id, asked), {"x-conversation-id": asked.conversation_id}


async def _whole(
    request: AnyRequest, reader: Reader, said: Callable[[CompleteAnswer, Finished], Any], headers: dict[str, str]
) -> Response[Any]:
    """The answer as one object, or why there is none."""
    try:
        whole = await unless_left(request, reader, read_complete_answer(reader))
    except ClientLeft:
        return Response(None, status_code=499)
    match whole.ending:
        case Finished():
            body = msgspec.json.encode(said(whole, whole.ending))
            return Response(body, headers=headers, media_type="application/json")
        case Interrupted(reason):
            # A stopped answer must not be retried. If the server stops, a retry finds the next one.
            return error_of_ending("unavailable", STOPPED, again=reason not in ("stopped", "superseded"))
        case failed:
            return error_of_ending(failed.slug, failed.detail, again=True)


v1_router = Router(
    "/v1",
    route_handlers=[models, model, completions, responses, stored],
    tags=["For OpenAI's clients"],
    opt={"refusals": REFUSALS},
)
