"""The shared secret that signs tokens: configured, or on a laptop one of the embedded database's own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from coach.errors import Misconfigured
from coach.settings import Settings


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
    return SecretStr(_own_secret(settings.home.expanduser()))


def _own_secret(home: Path) -> str:
    """Made once, readable by its owner only; two processes that start together agree on one."""
    path = home / "jwt-secret"
    home.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    if not path.exists():
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text()


def with_secret(settings: Settings) -> Settings:
    """The settings as a server needs them: with the secret that it checks tokens by, if there is one."""
    return settings.model_copy(update={"jwt_secret": shared_secret(settings)})
