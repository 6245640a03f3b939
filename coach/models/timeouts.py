"""How long a model is waited for."""

from __future__ import annotations

from msgspec import Struct


class Timeouts(Struct, frozen=True):
    """Seconds. ``first_token`` begins anew with each sign of life before it; ``total`` counts retries in."""

    connect: float = 10.0
    first_token: float = 30.0
    between_tokens: float = 20.0
    total: float = 600.0


PATIENT = Timeouts()
