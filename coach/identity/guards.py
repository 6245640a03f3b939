"""Who may pass to which routes. A guard covers a whole router, so that no new route can be without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from coach.errors import Forbidden, Unauthenticated
from coach.identity.principal import Principal
from coach.identity.rate import RateLimiter
from coach.identity.tokens import Verifier
from coach.identity.users import Accounts

CurrentUser = NamedDependency[UUID]
Connection = ASGIConnection[Any, Any, Any, Any]
AsyncGuard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True)
class Authenticator:
    """Lets callers in, over HTTP and over sockets alike."""

    verifier: Verifier
    accounts: Accounts
    rate: RateLimiter

    async def admit_user(self, principal: Principal) -> UUID:
        """The user whom a token names.

        :raises Forbidden: it is an operator's. :raises RateLimited: they ask too fast.
        :raises Unauthenticated: they have no account here.
        """
        if principal.role != "authenticated" or principal.user_id is None:
            raise Forbidden("This is a user's route; an operator's token reaches /admin only.")
        self.rate.take(principal.user_id)
        await self.accounts.admit(principal.user_id)
        return principal.user_id


# Functions and not methods: the framework copies a handler with all that its guards are bound to.


def users_guard(authenticator: Authenticator) -> AsyncGuard:
    """Admits users within their rate limit. An operator's token works only under ``/admin``."""

    async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        principal = await authenticator.verifier.verify(bearer(connection))
        await authenticator.admit_user(principal)
        connection.scope["user"] = principal

    return guard


def operators_guard(authenticator: Authenticator) -> AsyncGuard:
    """Lets operators in."""

    async def guard(connection: Connection, _handler: BaseRouteHandler) -> None:
        principal = await authenticator.verifier.verify(bearer(connection))
        if principal.role != "service_role":
            raise Forbidden("This route is for operators.")
        connection.scope["user"] = principal

    return guard


async def current_user(request: Request[Principal, Any, Any]) -> UUID:
    """The user whom the authenticator has let in."""
    if request.user.user_id is None:
        raise Forbidden
    return request.user.user_id


def bearer(connection: Connection) -> str:
    """The token of the Authorization header, and of nowhere else: addresses end up in logs and histories."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Unauthenticated
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must read: Bearer <token>.")
    return token.strip()
