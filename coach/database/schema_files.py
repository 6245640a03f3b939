"""The files of ``sql/``: migrations, each applied once, and function files, each applied again when it changes.

A migration that was released is never edited. What it would stumble over in an app's database is put right before it,
by the file of ``sql/adoption`` with its number, which finds nothing to do in a fresh one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

AFTER = "-- after: "
"""First line of a file: the function files that it stands on, by name and with commas between."""


@dataclass(frozen=True)
class SqlFile:
    """A migration, or the functions, views and triggers of one subject.

    ``name`` is what the database remembers it by, ``path`` is below ``sql/``, ``after`` names what it stands on.
    ``sha256`` is of a migration's text; of a function file's text and of all that it stands on.
    """

    name: str
    path: str
    text: str
    after: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Schema:
    """All files of one ``sql/``: migrations by name, function files behind those that they stand on."""

    migrations: tuple[SqlFile, ...]
    adoptions: tuple[SqlFile, ...]
    functions: tuple[SqlFile, ...]

    @cached_property
    def named(self) -> dict[str, str]:
        """The sha256 of each file, by its path."""
        return {file.path: file.sha256 for file in (*self.migrations, *self.functions)}

    def lacking(self, applied: Iterable[tuple[str, str]]) -> set[str]:
        """The paths of those that are not, as they are now, among the ``applied``."""
        return {path for path, _ in set(self.named.items()) - set(applied)}

    def before(self, migration: SqlFile) -> list[SqlFile]:
        """What makes an app's tables fit for it: the files of ``sql/adoption`` with its number."""
        return [file for file in self.adoptions if file.name[:4] == migration.name[:4]]

    def beneath(self, migration: SqlFile) -> set[str]:
        """The names of the function files that it stands on, and of those that they stand on."""
        found = set(migration.after)
        for file in reversed(self.functions):
            if file.name in found:
                found.update(file.after)
        return found


def read_schema(folder: Path) -> Schema:
    """:raises ValueError: a function file stands on one that there is not, or on itself."""
    migrations, adoptions = (
        tuple(
            SqlFile(file.name, f"{kind}/{file.name}", text, _after(text), _sha256(text))
            for file, text in _texts(folder / kind)
        )
        for kind in ("migrations", "adoption")
    )
    texts = {file.stem: text for file, text in _texts(folder / "functions")}
    # They are made over the tables as they are: a new migration makes all of them again.
    tables = " ".join(migration.name for migration in migrations)
    made: dict[str, SqlFile] = {}
    for name in TopologicalSorter({name: _after(text) for name, text in texts.items()}).static_order():
        if name not in texts:
            raise ValueError(f"A file of sql/functions stands on {name}, which is not there.")
        after = _after(texts[name])
        beneath = "".join(made[other].sha256 for other in after)
        made[name] = SqlFile(name, f"functions/{name}.sql", texts[name], after, _sha256(texts[name] + beneath + tables))
    return Schema(migrations, adoptions, tuple(made.values()))


def _texts(folder: Path) -> Iterator[tuple[Path, str]]:
    return ((file, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql")))


def _after(text: str) -> tuple[str, ...]:
    first = text.split("\n", 1)[0].strip()
    return tuple(name.strip() for name in first.removeprefix(AFTER).split(",")) if first.startswith(AFTER) else ()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
