"""``/ws/chat``: the turns of ``POST /api/chat`` over one socket, several at once, and what the server tells by itself.

The protocol is that of the AI SDK's ``WebSocketChatTransport``. What a message means and how a turn runs is decided in
``turns``; how many sockets there are and when they go, in ``coach/realtime``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from traceback import format_tb
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog
from litestar.types import Receive
from msgspec.structs import replace

from coach.chat.encoders import ended_properly
from coach.chat.turns import Reader, Turns
from coach.errors import CoachError, Conflict, RateLimited, Unavailable
from coach.http.problems import problem, problem_of
from coach.identity.guards import Authenticator
from coach.realtime.connection import DONE, GOING_AWAY, TRY_LATER, Connection, SocketGone
from coach.realtime.frames import (
    AbortFrame,
    Reply,
    ResumeFrame,
    SendFrame,
    asked,
    command_of,
    read_frame,
    request_id_of,
)
from coach.realtime.hub import Hub, TooManySockets
from coach.stages.stages import SessionCommand
from coach.telemetry import begin_request
from coach.values.ids import is_id, valid_id

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 16
"""Requests that one socket may have open at once."""

Begin = Callable[[], Awaitable[Reader | None]]


Command = Callable[[UUID, str, SessionCommand], Awaitable[object]]
"""Does as a command says that came without a message: of which user, in which conversation."""


@dataclass(frozen=True, slots=True)
class ChatSocket:
    """Reads one socket's frames and begins what they ask for."""

    authenticator: Authenticator
    hub: Hub
    turns: Turns
    command: Command
    socket: Connection
    receive: Receive

    async def serve(self) -> int:
        """Until it is closed, by whomever; the close code."""
        try:
            with self.hub.joined(self.socket):
                if self.hub.is_draining:
                    await self.socket.close(GOING_AWAY, "The server is restarting; connect again.")
                return await self._read()
        except TooManySockets:
            await self.socket.close(TRY_LATER, "Too many sockets are open; close one.")
        return TRY_LATER

    async def _read(self) -> int:
        while True:
            message: Any = await self.receive()
            if message["type"] == "websocket.disconnect":
                return self.socket.code or message.get("code", DONE)
            if not self.socket.allows_frame():
                await self.socket.close(TRY_LATER, "Frames come too fast.")
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
                self.socket.detach(frame.requestId)

    def _may_begin(self, request_id: str) -> None:
        """Apply the rate limit of HTTP, and the limit of open requests.

        :raises RateLimited: or another refusal.
        """
        if self.hub.is_draining:
            raise Unavailable("The server is restarting; connect again.")
        if request_id in self.socket.replies:
            raise Conflict("A request of this id is being answered on this socket.")
        if len(self.socket.replies) >= MAX_IN_FLIGHT:
            raise RateLimited(1.0, f"At most {MAX_IN_FLIGHT} requests may be open on one socket.")
        self.authenticator.rate.take(self.socket.user_id)

    def _answer(self, frame: SendFrame | ResumeFrame, begin: Begin) -> None:
        work = self._tell(Reply(frame.requestId), begin, frame.header("x-request-id"))
        self.socket.answer(frame.requestId, work, lambda: self.hub.request_ended(self.socket))

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
                await self.socket.send(reply.error(msgspec.json.encode(broken)))
                return
            await self._stream(reply, reader)

    async def _stream(self, reply: Reply, reader: Reader | None) -> None:
        if reader is None:
            await self.socket.send(reply.no_active())
            return
        try:
            await self.socket.send(reply.start())
            async with aclosing(ended_properly(reader)) as batches:
                async for batch in batches:
                    for frame in reply.chunks(batch):
                        await self.socket.send(frame)
            await self.socket.send(reply.end())
        finally:
            await reader.aclose()

    async def _refuse(self, reply: Reply, error: CoachError) -> None:
        await self.socket.send(reply.error(msgspec.json.encode(problem_of(error))))

    async def _begin(self, frame: SendFrame) -> Reader | None:
        command = command_of(frame)
        if command is None or frame.messages:
            return await self.turns.begin(self.socket.user_id, replace(asked(frame), session=command))
        conversation_id = uuid4().hex if frame.id is None else valid_id(frame.id, "id")
        await self.command(self.socket.user_id, conversation_id, command)
        return None

    async def _resume(self, frame: ResumeFrame) -> Reader | None:
        return await self.turns.resume(self.socket.user_id, frame.id) if is_id(frame.id) else None
