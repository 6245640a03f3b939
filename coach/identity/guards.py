"""Who may pass to which routes. A guard stands on a whole router, so that a new route cannot forget it.

Guards read ``verifier``, ``accounts`` and ``rate`` from the application's state, where ``coach/app.py`` puts them.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from coach.errors import Forbidden, Unauthenticated
from coach.identity.principal import Principal
from coach.identity.tokens import Verifier
from coach.identity.users import Accounts

CurrentUser = NamedDependency[UUID]
Connection = ASGIConnection[Any, Any, Any, Any]


async def user_guard(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Let users in, each at a bearable rate. What an operator's token may do, it does under ``/admin``."""
    state = connection.app.state
    principal = await _principal(connection, state)
    if principal.role != "authenticated" or principal.user_id is None:
        raise Forbidden("This is a user's route; an operator's token reaches /admin only.")
    state.rate.take(principal.user_id)
    accounts: Accounts = state.accounts
    await accounts.admit(principal.user_id)
    connection.scope["user"] = principal


async def operator_guard(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Let operators in."""
    principal = await _principal(connection, connection.app.state)
    if principal.role != "service_role":
        raise Forbidden("This route is for operators.")
    connection.scope["user"] = principal


async def current_user(request: Request[Principal, Any, Any]) -> UUID:
    """The user whom ``user_guard`` has let in."""
    if request.user.user_id is None:
        raise Forbidden
    return request.user.user_id


async def _principal(connection: Connection, state: State) -> Principal:
    verifier: Verifier = state.verifier
    return await verifier.verify(bearer(connection))


def bearer(connection: Connection) -> str:
    """The token of the Authorization header, and of nowhere else: addresses end up in logs and histories."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Unauthenticated
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("The Authorization header must read: Bearer <token>.")
    return token.strip()
