"""Who may pass to which routes. A guard stands on a whole router, so a new route cannot forget it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from coach.errors import Forbidden, Unauthenticated
from coach.http.limits import RateLimiter
from coach.identity.principal import Principal
from coach.identity.tokens import Verifier
from coach.identity.users import Accounts

Connection = ASGIConnection[Any, Any, Any, Any]


class UserGuard:
    """Lets users in, each at a bearable rate. What an operator's token may do, it does under ``/admin``."""

    def __init__(self, verifier: Verifier, accounts: Accounts, rate: RateLimiter) -> None:
        self._verifier, self._accounts, self._rate = verifier, accounts, rate

    async def __call__(self, connection: Connection, _handler: BaseRouteHandler) -> None:
        principal = await self._verifier.verify(bearer(connection))
        if principal.role != "authenticated" or principal.user_id is None:
            raise Forbidden("This is a user's route; an operator's token reaches /admin only.")
        self._rate.take(principal.user_id)
        await self._accounts.admit(principal.user_id)
        connection.scope["user"] = principal


class OperatorGuard:
    """Lets operators in."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def __call__(self, connection: Connection, _handler: BaseRouteHandler) -> None:
        principal = await self._verifier.verify(bearer(connection))
        if principal.role != "service_role":
            raise Forbidden("This route is for operators.")
        connection.scope["user"] = principal


def bearer(connection: Connection) -> str:
    """The token of the Authorization header, and of nowhere else: an address ends up in logs and histories."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Unauthenticated
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must read: Bearer <token>.")
    return token.strip()


def user_of(principal: Principal) -> UUID:
    """The user behind a principal that a ``UserGuard`` has let in."""
    if principal.user_id is None:
        raise Forbidden
    return principal.user_id
