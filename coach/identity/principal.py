"""Who is asking."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Role = Literal["authenticated", "service_role"]


class Principal(Struct, frozen=True):
    """What a verified token says. ``user_id`` is there for every ``authenticated``; an operator may have none."""

    role: Role
    user_id: UUID | None
    expires_at: datetime
    is_anonymous: bool = False
