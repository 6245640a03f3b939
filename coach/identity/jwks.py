"""Public keys from a JWKS URL, so cached that an outage there refuses nobody whose key is known."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import structlog

from coach.errors import Unauthenticated, Unavailable

FRESH_FOR = 600.0
ASK_AGAIN_AFTER = 30.0
TIMEOUT = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100

log = structlog.get_logger(__name__)


class _Useless(Exception):
    """The answer is no key set, or an empty one where there were keys."""


class JwksKeys:
    """Keys by id. Fetched when first needed and for an unknown id, at most once in 30 s; after 10 minutes beside the
    requests, of which none waits whose key is known."""

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic, client: httpx.AsyncClient | None = None
    ) -> None:
        self._url, self._clock = url, clock
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
        self._keys: dict[str, jwt.PyJWK] | None = None
        self._fetched = self._asked = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> Any:
        """The public key of that id, if it is one for ``algorithm``.

        :raises Unauthenticated: there is none. :raises Unavailable: there never was an answer with keys.
        """
        if self._clock() - self._fetched > FRESH_FOR:
            self._ask()
        found = self._find(kid, algorithm)
        if found is None:
            self._ask()
            if self._fetching is not None:
                await asyncio.wait([self._fetching])
            found = self._find(kid, algorithm)
        if found is not None:
            return found.key
        if self._keys is None:
            raise Unavailable("The keys that sign-in tokens are checked with cannot be fetched; try again.")
        raise Unauthenticated("The token is signed with an unknown key.")

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.aclose()

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = {i: k for i, k in (self._keys or {}).items() if k.algorithm_name == algorithm}
        if kid is None:
            return next(iter(fitting.values())) if len(fitting) == 1 else None
        return fitting.get(kid)

    def _ask(self) -> None:
        """One fetch for all requests. A cancelled request does not cancel it."""
        if self._fetching is None and self._clock() - self._asked >= ASK_AGAIN_AFTER:
            self._asked = self._clock()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("jwks_unavailable", reason=type(error).__name__, keys_kept=len(self._keys or {}))

    async def _fetch(self) -> None:
        async with asyncio.timeout(TIMEOUT), self._client.stream("GET", self._url) as response:
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise _Useless
        keys = _read(bytes(body))
        if self._keys and not keys:
            raise _Useless
        self._keys = keys
        self._fetched = self._clock()


def _read(body: bytes) -> dict[str, jwt.PyJWK]:
    """The usable signing keys. Symmetric ones are left out: what is published is no secret."""
    document = json.loads(body)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise _Useless
    keys: dict[str, jwt.PyJWK] = {}
    for entry in listed[:MAX_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        if (key := _key(entry)) is not None:
            keys[str(entry.get("kid", ""))] = key
    return keys


def _key(entry: dict[str, Any]) -> jwt.PyJWK | None:
    """One that cannot be read is left out: it must not take the others with it."""
    algorithm = _algorithm(entry)
    try:
        return jwt.PyJWK(entry, algorithm) if algorithm is not None else None
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _algorithm(entry: dict[str, Any]) -> str | None:
    """The one algorithm this key is for, decided by its type and not by what it claims."""
    fits = "RS256" if entry.get("kty") == "RSA" else "ES256" if entry.get("crv") == "P-256" else None
    return fits if entry.get("alg", fits) == fits else None
