"""``coach token``."""

from __future__ import annotations

import re
from datetime import timedelta

import click

from coach.errors import InvalidInput, Misconfigured
from coach.identity.principal import Role
from coach.identity.secret import shared_secret
from coach.identity.tokens import mint
from coach.identity.users import ensure_user
from coach.services import open_services
from coach.settings import Settings, load_settings

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=366)


async def run(name: str, role: Role, ttl: str) -> None:
    settings = load_settings()
    lifetime = duration(ttl)
    token = await make_token(settings, name, role, lifetime)
    click.echo(f"A token for {name} ({role}), good for {ttl}:", err=True)
    click.echo(token)


async def make_token(settings: Settings, name: str, role: Role, lifetime: timedelta) -> str:
    """A token for the user of that name, who is made if need be.

    :raises Misconfigured: tokens come from somewhere else here, or this login may not make users.
    """
    secret = shared_secret(settings)
    if secret is None:
        raise Misconfigured(
            "COACH_JWT_SECRET: tokens here are issued by the owner of COACH_JWKS_URL; to make them yourself set a "
            "shared secret. Example: COACH_JWT_SECRET=the output of: openssl rand -base64 48"
        )
    async with (
        open_services(settings, needs_operators=True) as services,
        services.require_operators().as_operator() as tx,
    ):
        user_id = await ensure_user(tx, name)
    return mint(
        secret.get_secret_value(),
        sub=user_id,
        role=role,
        ttl=lifetime,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )


def duration(text: str) -> timedelta:
    """``90m``, ``8h``, ``30d`` as a time span.

    :raises InvalidInput: anything else, or more than a year.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta(0)
    if not timedelta(0) < lifetime <= LONGEST:
        raise InvalidInput(
            "--ttl", f"{text!r} is not a time span; use a number and s, m, h or d, up to 366d, as in 8h."
        )
    return lifetime
