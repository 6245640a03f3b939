"""What there is to consent to, as ``sql/functions/consents.sql`` declares it.

``python -m coach.kinds.consents docs/privacy.md`` writes the table of that page anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from coach.resources import SQL


class Consent(Struct, frozen=True):
    """``stops`` says in words what stops without it; ``entities`` and ``events`` are what may not be stored then."""

    name: str
    by_default: bool = msgspec.field(name="default")
    stops: str
    entities: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def declared(file: Path = SQL / "functions" / "consents.sql") -> tuple[Consent, ...]:
    _, declaration, _ = file.read_text(encoding="utf-8").split("$json$")
    return msgspec.json.decode(declaration, type=tuple[Consent, ...])


CONSENTS = declared()


def covering(queue_name: str) -> frozenset[str]:
    """The consents that are declared to cover these rows of the queue."""
    return frozenset(consent.name for consent in CONSENTS if {"*", queue_name} & set(consent.entities))


def with_table(page: str, consents: Iterable[Consent] = CONSENTS) -> str:
    """The page, its table of consents made anew."""
    rows = [f"| `{each.name}` | {'on' if each.by_default else 'off'} | {each.stops} |\n" for each in consents]
    table = "".join(("| Consent | By default | Without it, this stops |\n", "|---|---|---|\n", *rows))
    return re.sub(r"^\| Consent \|.*?\n(?=\n)", lambda _: table, page, count=1, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
