"""``/ws/chat``: the turns of ``POST /api/chat`` over one socket, several at once, and what the server tells by itself.

The protocol is that of the AI SDK's ``WebSocketChatTransport``. What a message means and how a turn runs is decided in
``turns``; how many sockets there are and when they go, in ``coach/realtime``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from traceback import format_tb
from typing import Any, Protocol
from uuid import UUID, uuid4

import msgspec
import structlog
from litestar.types import Receive
from msgspec import Struct

from coach.chat.encoders import ended_properly
from coach.chat.schemas import ChatRequest
from coach.chat.turns import Reader, Turns
from coach.errors import (
    CoachError,
    Conflict,
    RateLimited,
    Unavailable,
)
from coach.http.problems import problem, problem_of
from coach.identity.guards import Authenticator
from coach.realtime.connection import DONE, GOING_AWAY, TRY_LATER, Connection, SocketGone
from coach.realtime.frames import (
    AbortFrame,
    Reply,
    ResumeFrame,
    SendFrame,
    asked,
    read_frame,
    request_id_of,
    session_of,
)
from coach.realtime.hub import Hub, TooManySockets
from coach.telemetry import begin_request
from coach.values.ids import is_id, valid_id

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 16
"""Requests that one socket may have open at once."""

Begin = Callable[[], Awaitable[Reader | None]]


class SessionRequest(Struct, frozen=True):
    """A frame with ``body.session``: ``said`` is that object, ``request`` the message, if there is one."""

    conversation_id: str
    said: dict[str, Any]
    request: ChatRequest | None


class SessionHooks(Protocol):
    """Who keeps coaching sessions."""

    async def begin(self, user_id: UUID, ask: SessionRequest) -> Reader | None:
        """Carry out the command; returns the turn that answers, or None if there is no answer. :raises CoachError: sent
        as a problem before anything has begun.
        """


class ChatSocket:
    """Reads one socket's frames and begins what they ask for."""

    def __init__(  # noqa: PLR0917 - one argument a part
        self,
        authenticator: Authenticator,
        hub: Hub,
        turns: Turns,
        sessions: SessionHooks,
        socket: Connection,
        receive: Receive,
    ) -> None:
        self._door, self._hub, self._turns, self._sessions = authenticator, hub, turns, sessions
        self._socket, self._receive, self._user_id = socket, receive, socket.user_id

    async def serve(self) -> int:
        """Until it is closed, by whomever; the close code."""
        try:
            with self._hub.joined(self._socket):
                if self._hub.is_draining:
                    await self._socket.close(GOING_AWAY, "The server is restarting; connect again.")
                return await self._read()
        except TooManySockets:
            await self._socket.close(TRY_LATER, "Too many sockets are open; close one.")
        return TRY_LATER

    async def _read(self) -> int:
        while True:
            message: Any = await self._receive()
            if message["type"] == "websocket.disconnect":
                return self._socket.code or message.get("code", DONE)
            if not self._socket.allows_frame():
                await self._socket.close(TRY_LATER, "Frames come too fast.")
                continue
            with suppress(SocketGone):
                await self._hear(message.get("text"), message.get("bytes"))

    async def _hear(self, text: str | None, data: bytes | None) -> None:
        sent = text.encode() if text is not None else data or b""
        try:
            frame = read_frame(sent)
            if not isinstance(frame, AbortFrame):
                self._may_begin(frame.requestId)
        except CoachError as error:
            await self._refuse(Reply(request_id_of(sent)), error)
            return
        match frame:
            case SendFrame():
                self._answer(frame, lambda: self._begin(frame))
            case ResumeFrame():
                self._answer(frame, lambda: self._resume(frame))
            case AbortFrame():
                self._socket.detach(frame.requestId)

    def _may_begin(self, request_id: str) -> None:
        """Apply the rate limit of HTTP, and the limit of open requests.

        :raises RateLimited: or another refusal.
        """
        if self._hub.is_draining:
            raise Unavailable("The server is restarting; connect again.")
        if request_id in self._socket.replies:
            raise Conflict("A request of this id is being answered on this socket.")
        if len(self._socket.replies) >= MAX_IN_FLIGHT:
            raise RateLimited(1.0, f"At most {MAX_IN_FLIGHT} requests may be open on one socket.")
        self._door.rate.take(self._user_id)

    def _answer(self, frame: SendFrame | ResumeFrame, begin: Begin) -> None:
        work = self._tell(Reply(frame.requestId), begin, frame.header("x-request-id"))
        self._socket.answer(frame.requestId, work, lambda: self._hub.request_ended(self._socket))

    async def _tell(self, reply: Reply, begin: Begin, request_id: str | None) -> None:
        """One request, from its beginning to its last frame."""
        begin_request(request_id.encode() if request_id else None)
        with suppress(SocketGone):
            try:
                reader = await begin()
            except CoachError as error:
                await self._refuse(reply, error)
                return
            except Exception as error:  # noqa: BLE001 - whatever broke, this request ends and the others go on
                # Without the message: a database error may quote the row, and logs hold no content.
                frames = format_tb(error.__traceback__)
                log.error("socket_request_failed", error=type(error).__name__, frames=frames)  # noqa: TRY400
                broken = problem("internal-error", "Something went wrong here; the request id finds it in the log.")
                await self._socket.send(reply.error(msgspec.json.encode(broken)))
                return
            await self._stream(reply, reader)

    async def _stream(self, reply: Reply, reader: Reader | None) -> None:
        if reader is None:
            await self._socket.send(reply.no_active())
            return
        try:
            await self._socket.send(reply.start())
            async with aclosing(ended_properly(reader)) as batches:
                async for batch in batches:
                    for frame in reply.chunks(batch):
                        await self._socket.send(frame)
            await self._socket.send(reply.end())
        finally:
            await reader.aclose()

    async def _refuse(self, reply: Reply, error: CoachError) -> None:
        await self._socket.send(reply.error(msgspec.json.encode(problem_of(error))))

    async def _begin(self, frame: SendFrame) -> Reader | None:
        session = session_of(frame)
        if session is None:
            return await self._turns.begin(self._user_id, asked(frame))
        request = asked(frame) if frame.messages else None
        if request is not None:
            return await self._sessions.begin(self._user_id, SessionRequest(request.conversation_id, session, request))
        conversation_id = uuid4().hex if frame.id is None else valid_id(frame.id, "id")
        return await self._sessions.begin(self._user_id, SessionRequest(conversation_id, session, None))

    async def _resume(self, frame: ResumeFrame) -> Reader | None:
        if not is_id(frame.id):
            return None
        return await self._turns.resume(self._user_id, frame.id)
