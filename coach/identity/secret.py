"""The shared secret that signs tokens: configured, or on a laptop one of the embedded database's own."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from coach.database.home import explain_os_errors, make_home
from coach.errors import Misconfigured
from coach.settings import Settings

SHORTEST = 32
"""Bytes of a secret, as of COACH_JWT_SECRET."""


def shared_secret(settings: Settings) -> SecretStr | None:
    """What HS256 tokens are signed with; None where only a JWKS is configured.

    :raises Misconfigured: a database by URL, and no way to tell who calls.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    if settings.jwks_url is not None:
        return None
    if settings.database_url is not None:
        raise Misconfigured(
            "COACH_JWT_SECRET: needed beside COACH_DATABASE_URL (or COACH_JWKS_URL instead), so that callers can be "
            "told apart. Example: COACH_JWT_SECRET=the output of: openssl rand -base64 48"
        )
    return SecretStr(_own_secret(settings.home))


def _own_secret(home: Path) -> str:
    """Made once, readable by its owner only; two processes that start together agree on one."""
    path = make_home(home) / "jwt-secret"
    with explain_os_errors(path):
        if not path.exists():
            _write_once(path, secrets.token_urlsafe(48))
        secret = path.read_text().strip()
    if len(secret) < SHORTEST:
        raise Misconfigured(f"{path} is damaged; remove it, and a new one is made (sign in anew then).")
    return secret


def _write_once(path: Path, text: str) -> None:
    """Under its name only when it is whole, and only if none is there."""
    fresh = path.with_suffix(f".{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def with_secret(settings: Settings) -> Settings:
    """The settings as a server needs them: with the secret that it checks tokens by, if there is one."""
    return settings.model_copy(update={"jwt_secret": shared_secret(settings)})
