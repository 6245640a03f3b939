"""Who may open ``/ws/chat``: by a ticket or a token, from one of our own pages or an allowed one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import structlog
from litestar import Request, asgi, post
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send, WebSocketScope
from msgspec import Struct

from coach.chat.turns import Turns
from coach.errors import CoachError, RateLimited, Refused, Unauthenticated, Unavailable
from coach.http.declared import declares
from coach.identity.guards import Authenticator
from coach.identity.principal import Principal
from coach.realtime.connection import REFUSED, TRY_LATER, Connection
from coach.realtime.hub import Hub
from coach.realtime.origin import is_allowed_origin
from coach.realtime.socket import ChatSocket, Command
from coach.realtime.tickets import Ticket, Tickets
from coach.telemetry import begin_request

log = structlog.get_logger(__name__)

SUBPROTOCOL = "coach.v1"
MAX_REASON = 120
"""Bytes of a close frame's reason, of which the protocol allows 123."""


class Refusal(Struct, frozen=True):
    """With which code and words a socket is closed at once."""

    code: int
    reason: str


@post("/api/ws-ticket", status_code=200, summary="A ticket for one socket", tags=["Chat"], **declares())
async def ws_ticket(request: Request[Principal, Any, Any], tickets: NamedDependency[Tickets]) -> Ticket:
    """Opens one `/ws/chat?ticket=…` within 60 seconds, on any server process. It is used up by that."""
    return await tickets.issue(request.user)


@dataclass(frozen=True)
class Sockets:
    """Accepts sockets: who opens one, from where, and what it may ask."""

    authenticator: Authenticator
    hub: Hub
    turns: Turns
    tickets: Tickets
    command: Command
    allowed_origins: Sequence[str]

    @property
    def handler(self) -> ASGIRouteHandler:
        """``/ws/chat``, below the framework, which would keep several times as much for each socket."""

        async def chat_socket(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.WEBSOCKET:
                raise Refused("This address takes websockets only.")
            await self._accept(scope, receive, send)

        return asgi("/ws/chat", copy_scope=False)(chat_socket)

    async def _accept(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        begin_request(None)
        await receive()
        if not is_allowed_origin(
            list(scope["headers"]), scope["scheme"], frozenset(map(str.encode, self.allowed_origins))
        ):
            await send({"type": "websocket.close", "code": REFUSED, "reason": ""})
            log.info("socket_refused", path=scope["path"], reason="origin")
            return
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
        admitted = await self._admit(scope)
        await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []})
        if isinstance(admitted, Refusal):
            code = admitted.code
            with suppress(OSError):
                await send({"type": "websocket.close", "code": code, "reason": admitted.reason})
        else:
            socket = Connection(*admitted, self.turns.clock(), send)
            code = await ChatSocket(self.authenticator, self.hub, self.turns, self.command, socket, receive).serve()
        log.info("socket", path=scope["path"], code=code, ms=round((perf_counter() - began) * 1000))

    async def _admit(self, scope: WebSocketScope) -> tuple[UUID, datetime] | Refusal:
        """The user and the expiry of a socket, or the reason to close it."""
        try:
            principal = await self._read_principal(scope)
            return await self.authenticator.admit_user(principal), principal.expires_at
        except (Unavailable, RateLimited) as error:
            return Refusal(TRY_LATER, _reason(error))
        except CoachError as error:
            return Refusal(REFUSED, _reason(error))

    async def _read_principal(self, scope: WebSocketScope) -> Principal:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "ticket" in query:
            return await self.tickets.redeem(query["ticket"][0])
        offered = [name for name in scope["subprotocols"] if name != SUBPROTOCOL]
        if SUBPROTOCOL not in scope["subprotocols"] or not offered:
            raise Unauthenticated(
                "Open it with ?ticket= from POST /api/ws-ticket, or the subprotocols coach.v1 and a JWT."
            )
        return await self.authenticator.verifier.verify(offered[0])


def _reason(error: CoachError) -> str:
    return str(error).encode("ascii", "replace")[:MAX_REASON].decode()
