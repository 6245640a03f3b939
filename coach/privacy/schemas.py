"""A user's preferences on the wire: consents, how long data are kept, and when nobody is nudged.

The consents among their fields are those that are declared (``coach/kinds/consents.py``), so a type checker knows
them no more than it knows the keys of a dictionary.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from coach.errors import InvalidInput
from coach.kinds.consents import CONSENTS

CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
"""A time of day, to the minute."""

Clock = Annotated[str, Meta(extra_json_schema={"pattern": f"^{CLOCK}$"})]
RetentionDays = Annotated[int, Meta(ge=90, le=365)]
AnonymizeDays = Annotated[int, Meta(ge=30, le=365)]

if TYPE_CHECKING:

    class Preferences(Struct): ...

    class PreferencesChange(Struct): ...

else:
    Preferences = msgspec.defstruct(
        "Preferences",
        [
            *((consent.name, bool) for consent in CONSENTS),
            ("data_retention_days", int),
            ("anonymize_after_days", int),
            ("quiet_from", str),
            ("quiet_until", str),
            ("updated_at", datetime | None),
        ],
        module=__name__,
        namespace={
            "__doc__": """The consents, and the rest. What each consent stops stands in docs/privacy.md.

            ``quiet_from`` and ``quiet_until`` are times by the user's own clock, as ``21:00``; equal: there are no
            quiet hours. ``updated_at`` is null while nothing was ever chosen, and all is as by default.
            """
        },
    )
    PreferencesChange = msgspec.defstruct(
        "PreferencesChange",
        [
            *((consent.name, bool | UnsetType, UNSET) for consent in CONSENTS),
            ("data_retention_days", RetentionDays | UnsetType, UNSET),
            ("anonymize_after_days", AnonymizeDays | UnsetType, UNSET),
            ("quiet_from", Clock | UnsetType, UNSET),
            ("quiet_until", Clock | UnsetType, UNSET),
        ],
        module=__name__,
        namespace={"__doc__": "What is left out stays."},
        forbid_unknown_fields=True,
    )


def checked(change: PreferencesChange) -> dict[str, Any]:
    """What is to change, by column.

    :raises InvalidInput: a time of day that is none.
    """
    wanted: dict[str, Any] = msgspec.to_builtins(change)
    for name in ("quiet_from", "quiet_until"):
        if name in wanted and not re.fullmatch(CLOCK, wanted[name]):
            raise InvalidInput(name, "must be a time of day from 00:00 to 23:59, such as 21:00.")
    return wanted
