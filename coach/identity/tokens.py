"""Bearer tokens: verified, and for development made.

The algorithm a token names only ever chooses between our keys; each key then accepts its own algorithm and no other,
so neither ``none`` nor a public key misused as an HMAC secret gets anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import jwt

from coach.errors import Forbidden, Unauthenticated
from coach.identity.principal import Principal, Role

MAX_TOKEN = 8_192
LEEWAY = timedelta(seconds=10)
ASYMMETRIC = ("ES256", "RS256")
ROLES: tuple[Role, ...] = ("authenticated", "service_role")
SUPABASE = "supabase"
"""The issuer of Supabase's own keys, which sign with the project's secret as its sessions do."""
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


class KeySource(Protocol):
    """Public keys by id."""

    async def key(self, kid: str | None, algorithm: str) -> Any:
        """The key of that id and for that algorithm.

        :raises Unauthenticated: there is no such key. :raises Unavailable: the keys could never be fetched.
        """

    async def aclose(self) -> None: ...


class Verifier:
    """Tokens to principals. ``secret`` serves HS256, ``keys`` ES256 and RS256; both may be there at once."""

    def __init__(
        self, *, secret: str | None = None, keys: KeySource | None = None, audience: str, issuer: str | None = None
    ) -> None:
        self._secret, self._keys, self._audience, self._issuer = secret, keys, audience, issuer

    async def verify(self, token: str) -> Principal:
        """Who holds ``token``.

        :raises Unauthenticated: says what is wrong with it, never what stands in it. :raises Forbidden: another role.
        """
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("The token is too long.")
        algorithm, kid = _header(token)
        key = await self._key(algorithm, kid)
        return _principal(self._claims(token, key, algorithm))

    async def aclose(self) -> None:
        if self._keys is not None:
            await self._keys.aclose()

    async def _key(self, algorithm: object, kid: str | None) -> Any:
        if algorithm == "HS256" and self._secret is not None:
            return self._secret
        if algorithm in ASYMMETRIC and self._keys is not None:
            return await self._keys.key(kid, str(algorithm))
        raise Unauthenticated("The token is signed with an algorithm that is not accepted here.")

    def _claims(self, token: str, key: Any, algorithm: object) -> dict[str, Any]:
        read = partial(jwt.decode, token, key, algorithms=[str(algorithm)], leeway=LEEWAY)
        required = ["exp", "aud"] + (["iss"] if self._issuer else [])
        try:
            try:
                return read(audience=self._audience, issuer=self._issuer, options={"require": required})
            except jwt.MissingRequiredClaimError as error:
                if error.claim != "aud" or self._issuer is None:
                    raise
                return _service_claims(read, self._issuer, error)
        except jwt.PyJWTError as error:
            raise Unauthenticated(_reason(error)) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated("The token cannot be read.") from None


def _service_claims(read: Callable[..., dict[str, Any]], issuer: str, lacks: jwt.PyJWTError) -> dict[str, Any]:
    """Of a service key of Supabase, which has no audience and calls its issuer ``supabase``. Nobody else's."""
    claims = read(issuer=[issuer, SUPABASE], options={"require": ["exp", "iss"], "verify_aud": False})
    if claims.get("role") != "service_role":
        raise lacks
    return claims


def _header(token: str) -> tuple[object, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("The token cannot be read.") from None
    kid = header.get("kid")
    return header.get("alg"), kid if isinstance(kid, str) else None


_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token comes from another issuer.",
    jwt.MissingRequiredClaimError: "The token lacks a claim: it needs exp, aud, sub, and iss where one is configured.",
    jwt.InvalidSignatureError: "The token's signature does not hold.",
}


def _reason(error: jwt.PyJWTError) -> str:
    return next((text for kind, text in _REASONS.items() if isinstance(error, kind)), "The token cannot be read.")


def _principal(claims: dict[str, Any]) -> Principal:
    role = next((role for role in ROLES if role == claims.get("role")), None)
    if role is None:
        raise Forbidden("This token's role is neither authenticated nor service_role.")
    user_id = _uuid(claims.get("sub"))
    if role == "authenticated" and user_id is None:
        raise Unauthenticated("The token's sub is not a user's uuid.")
    return Principal(role, user_id, _moment(claims["exp"]), claims.get("is_anonymous") is True)


def _uuid(value: object) -> UUID | None:
    """Only the canonical form: PostgreSQL and Python disagree about the others."""
    try:
        found = UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if str(found) == str(value).lower() else None


def _moment(exp: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(exp)), UTC)
    except (ValueError, OverflowError, OSError):
        return _FOREVER


def mint(
    secret: str,
    *,
    sub: UUID | None,
    role: Role = "authenticated",
    ttl: timedelta = timedelta(hours=8),
    audience: str = "authenticated",
    issuer: str | None = None,
    is_anonymous: bool = False,
) -> str:
    """A token for development and tests, signed with the shared secret."""
    now = datetime.now(UTC)
    claims = {"sub": sub and str(sub), "role": role, "aud": audience, "iss": issuer, "iat": now, "exp": now + ttl}
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None} | {"is_anonymous": is_anonymous},
        secret,
        algorithm="HS256",
    )
