"""Conversations over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Router, delete, get, patch, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, QueryParameter

from coach.chat.turns import Turns
from coach.conversations import deleting, importing, messages, repository
from coach.conversations.import_schemas import EXAMPLE, Import
from coach.conversations.importing import Imported
from coach.conversations.schemas import (
    Conversation,
    ConversationChange,
    ConversationPage,
    Feedback,
    GivenFeedback,
    MessagePage,
)
from coach.database.pool import Database
from coach.errors import NotFound
from coach.http.declared import declares
from coach.http.limits import IMPORT_BODY
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit
from coach.identity.guards import CurrentUser
from coach.values.clock import utc_now

Db = NamedDependency[Database]


@get("/", summary="Your conversations", **declares())
async def conversations(
    *,
    user_id: CurrentUser,
    db: Db,
    q: Annotated[str | None, QueryParameter(description="Words of the title or of a message.")] = None,
    archived: Annotated[bool, QueryParameter(description="Only those that are archived.")] = False,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> ConversationPage:
    """Newest activity first. With `q` those that hold all of its words, in the title or in one message."""
    return await repository.listed(db, user_id, q=q, archived=archived, limit=limit, cursor=cursor)


@get("/{conversation_id:str}", summary="One conversation", **declares(problems=(NotFound,)))
async def conversation(conversation_id: FromPath[str], user_id: CurrentUser, db: Db) -> Conversation:
    """Without its messages."""
    return await repository.one(db, user_id, conversation_id)


@patch(
    "/{conversation_id:str}",
    summary="Rename, archive, or go to another branch",
    **declares(ConversationChange, example={"title": "The knee", "archived": False}, problems=(NotFound,)),
)
async def change(
    sent: NamedDependency[ConversationChange], conversation_id: FromPath[str], user_id: CurrentUser, db: Db
) -> Conversation:
    """What is left out stays. A title that was given is never replaced by the model's."""
    return await repository.change(db, user_id, conversation_id, sent)


@delete("/{conversation_id:str}", summary="Delete a conversation", **declares(problems=(NotFound,)))
async def remove(conversation_id: FromPath[str], user_id: CurrentUser, db: Db, turns: NamedDependency[Turns]) -> None:
    """A running turn is stopped first. Its messages and what is remembered of them are gone with the answer to this."""
    await deleting.delete(db, turns, user_id, conversation_id)


@get("/{conversation_id:str}/messages", summary="The messages of a branch", **declares(problems=(NotFound,)))
async def read_messages(
    *,
    conversation_id: FromPath[str],
    user_id: CurrentUser,
    db: Db,
    leaf: Annotated[str | None, QueryParameter(description="A message of the branch that is wanted.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> MessagePage:
    """The end of the branch first, each page oldest first: UIMessages to begin a chat with. The cursor leads back."""
    return await messages.messages(db, user_id, conversation_id, leaf=leaf, limit=limit, cursor=cursor)


@post(
    "/{conversation_id:str}/messages/{message_id:str}/feedback",
    status_code=200,
    summary="Say what an answer was worth",
    **declares(Feedback, example={"rating": "down", "reason": "Too long."}, problems=(NotFound,)),
)
async def feedback(
    sent: NamedDependency[Feedback],
    conversation_id: FromPath[str],
    message_id: FromPath[str],
    user_id: CurrentUser,
    db: Db,
) -> GivenFeedback:
    """The latest word counts."""
    return await repository.rate(db, user_id, conversation_id, message_id, given=sent, now=utc_now())


def _only_import(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A separate route would hide a conversation with the id "import"."""
    if connection.path_params["conversation_id"] != "import":
        raise MethodNotAllowedException(headers={"Allow": "GET, PATCH, DELETE"})


@post(
    "/{conversation_id:str}",
    status_code=202,
    request_max_body_size=IMPORT_BODY,
    summary="Bring conversations from elsewhere",
    guards=[_only_import],
    **declares(Import, is_streamed=True, example=EXAMPLE, address={"conversation_id": "import"}),
)
async def import_conversations(sent: NamedDependency[AsyncIterator[bytes]], user_id: CurrentUser, db: Db) -> Imported:
    """Up to 500 messages. A message whose id is there already is left as it is; bad ones are named by their path."""
    return await importing.import_conversations(db, user_id, sent, utc_now())


conversations_router = Router(
    "/api/conversations",
    route_handlers=[conversations, conversation, change, remove, read_messages, feedback, import_conversations],
    tags=["Conversations"],
)
