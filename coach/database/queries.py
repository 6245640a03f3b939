"""All SQL has a name and a file: ``sql/queries/<domain>.sql``, loaded once by aiosql."""

from __future__ import annotations

from functools import cache
from typing import Any

import aiosql

from coach.resources import SQL


@cache
def load(domain: str) -> Any:
    """The queries of one domain, as methods that take the transaction first. A select is an async generator."""
    return aiosql.from_path(SQL / "queries" / f"{domain}.sql", "apsycopg")
