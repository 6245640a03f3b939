"""Conversations over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.exceptions import MethodNotAllowedException
from litestar.params import FromPath, QueryParameter

from coach.chat.turns import Turns
from coach.conversations import deleting, importing, messages, repository
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
from coach.http.bodies import body_of
from coach.http.lists import DEFAULT_LIMIT, Cursor, Limit
from coach.http.problems import require_json
from coach.identity.guards import CurrentUser
from coach.values.clock import utc_now

AnyRequest = Request[Any, Any, Any]
Db = NamedDependency[Database]


@get("/", summary="Your conversations")
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


@get("/{conversation_id:str}", summary="One conversation")
async def conversation(conversation_id: FromPath[str], user_id: CurrentUser, db: Db) -> Conversation:
    """Without its messages."""
    return await repository.one(db, user_id, conversation_id)


@patch("/{conversation_id:str}", summary="Rename, archive, or go to another branch")
async def change(request: AnyRequest, conversation_id: FromPath[str], user_id: CurrentUser, db: Db) -> Conversation:
    """What is left out stays. A title that was given is never replaced by the model's."""
    wanted = await body_of(request, ConversationChange)
    return await repository.change(db, user_id, conversation_id, wanted)


@delete("/{conversation_id:str}", summary="Delete a conversation")
async def remove(conversation_id: FromPath[str], user_id: CurrentUser, db: Db, turns: NamedDependency[Turns]) -> None:
    """A running turn is stopped first. Its messages and what is remembered of them are gone with the answer to this."""
    await deleting.delete(db, turns, user_id, conversation_id)


@get("/{conversation_id:str}/messages", summary="The messages of a branch")
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
    "/{conversation_id:str}/messages/{message_id:str}/feedback", status_code=200, summary="Say what an answer was worth"
)
async def feedback(
    request: AnyRequest, conversation_id: FromPath[str], message_id: FromPath[str], user_id: CurrentUser, db: Db
) -> GivenFeedback:
    """The latest word counts."""
    given = await body_of(request, Feedback)
    return await repository.rate(db, user_id, conversation_id, message_id, given=given, now=utc_now())


@post("/{conversation_id:str}", status_code=202, summary="Bring conversations from elsewhere")
async def import_conversations(
    request: AnyRequest, conversation_id: FromPath[str], user_id: CurrentUser, db: Db
) -> Imported:
    """Up to 500 messages. A message whose id is there already is left as it is; bad ones are named by their path."""
    # An address of its own would hide a conversation that somebody calls "import".
    if conversation_id != "import":
        raise MethodNotAllowedException(headers={"Allow": "GET, PATCH, DELETE"})
    require_json(request)
    return await importing.import_conversations(db, user_id, await request.body(), utc_now())


conversations_router = Router(
    "/api/conversations",
    route_handlers=[conversations, conversation, change, remove, read_messages, feedback, import_conversations],
    tags=["Conversations"],
)
