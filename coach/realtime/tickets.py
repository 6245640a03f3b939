"""Tickets open a socket for a browser, which cannot send headers with it. One use, within one minute."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from coach.database.pool import Database
from coach.database.queries import load
from coach.errors import Unauthenticated
from coach.identity.principal import Principal

_sql = load("realtime")

VALID_FOR = timedelta(seconds=60)
_SECRET = 24
_LENGTH = 16 + _SECRET


class Ticket(Struct, frozen=True):
    """``?ticket=`` of one ``/ws/chat``, until ``expires_at``."""

    ticket: str
    expires_at: datetime


class Tickets:
    """Issues and takes tickets. They stand in the database, hashed, so that any server process takes any of them.

    A ticket begins with its user, so that the row is read under that user's row level security. The rest is 192 random
    bits.
    """

    def __init__(self, db: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock

    async def issue(self, principal: Principal) -> Ticket:
        """A ticket for a signed-in user. Its socket lasts no longer than their token. :raises Unauthenticated: the
        token names no user.
        """
        if principal.user_id is None:
            raise Unauthenticated
        raw, now = principal.user_id.bytes + secrets.token_bytes(_SECRET), self._clock()
        expires_at = now + VALID_FOR
        async with self._db.as_user(principal.user_id) as tx:
            await _sql.forget_tickets.run(tx, user_id=principal.user_id, now=now)
            await _sql.issue_ticket.run(
                tx,
                user_id=principal.user_id,
                digest=_digest(raw),
                token_expires_at=principal.expires_at,
                expires_at=expires_at,
            )
        return Ticket(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), expires_at)

    async def redeem(self, ticket: str) -> Principal:
        """The user of a ticket, which cannot be used again.

        :raises Unauthenticated: it was used, has expired, or never was one.
        """
        raw = _read(ticket)
        user_id = UUID(bytes=raw[:16])
        async with self._db.as_user(user_id) as tx:
            token_expires_at = await _sql.redeem_ticket.value(
                tx, user_id=user_id, digest=_digest(raw), now=self._clock()
            )
        if token_expires_at is None:
            raise Unauthenticated("The ticket was used already, or has expired; get a new one.")
        return Principal("authenticated", user_id, token_expires_at)


def _digest(raw: bytes) -> bytes:
    """Without salt or stretching: nobody guesses 192 random bits within a minute."""
    return hashlib.sha256(raw).digest()


def _read(ticket: str) -> bytes:
    try:
        raw = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _LENGTH:
        raise Unauthenticated("This is no ticket.")
    return raw
