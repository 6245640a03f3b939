"""Statements on a database of a URL, each in a connection of its own."""

from __future__ import annotations

import psycopg


def run(url: str, statements: str) -> list[tuple[object, ...]]:
    """The rows that they give, of the first one where there are several."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statements.encode())
        return cursor.fetchall() if cursor.description else []
