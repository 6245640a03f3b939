"""Ids of conversations and messages, as clients choose them."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from coach.errors import InvalidInput

_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:~-]{1,128}")

Id = Annotated[str, Meta(extra_json_schema={"pattern": "^[A-Za-z0-9._:~-]{1,128}$"})]
"""As the API describes one; ``valid_id`` reads it."""


def is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def valid_id(value: object, path: str) -> str:
    """``value``, which is an id.

    :raises InvalidInput: it is none; names ``path``.
    """
    if not isinstance(value, str) or not is_id(value):
        raise InvalidInput(path, "must be 1 to 128 characters out of A-Z a-z 0-9 . _ : ~ - and neither . nor ..")
    return value
