"""The files of ``sql/``: migrations, each applied once, and function files, each applied again when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

AFTER = "-- after: "
"""First line of a file: the function files that it stands on, by name and with commas between."""

NO_TRANSACTION = "-- coach:no-transaction"
"""First line of a migration whose (single) statement refuses to run in a transaction."""


@dataclass(frozen=True)
class Migration:
    """What tables, columns, types and indexes there are; once applied, the file stays as it is."""

    name: str
    text: str

    @property
    def path(self) -> str:
        return f"migrations/{self.name}"

    @property
    def sha256(self) -> str:
        return _sha256(self.text)

    @property
    def after(self) -> tuple[str, ...]:
        return _after(self.text)

    @property
    def in_transaction(self) -> bool:
        return _first_line(self.text) != NO_TRANSACTION


@dataclass(frozen=True)
class FunctionFile:
    """Functions, views and triggers of one subject. ``sha256`` is of the text, and of all that it stands on."""

    name: str
    text: str
    sha256: str

    @property
    def path(self) -> str:
        return f"functions/{self.name}.sql"


@dataclass(frozen=True)
class Schema:
    """All files of one ``sql/``: migrations by name, function files behind those that they stand on."""

    migrations: tuple[Migration, ...]
    functions: tuple[FunctionFile, ...]

    @cached_property
    def named(self) -> dict[str, str]:
        """The sha256 of each file, by its path."""
        files: list[Migration | FunctionFile] = [*self.migrations, *self.functions]
        return {file.path: file.sha256 for file in files}

    def lacking(self, applied: Iterable[tuple[str, str]]) -> set[str]:
        """The paths of those that are not, as they are now, among the ``applied``."""
        return {path for path, _ in set(self.named.items()) - set(applied)}

    def beneath(self, names: Sequence[str]) -> set[str]:
        """These function files, and those that they stand on."""
        found = set(names)
        for file in reversed(self.functions):
            if file.name in found:
                found.update(_after(file.text))
        return found


def read_schema(folder: Path) -> Schema:
    """:raises ValueError: a function file stands on one that there is not, or on itself."""
    migrations = tuple(_migrations(folder / "migrations"))
    return Schema(migrations, tuple(_functions(folder / "functions", migrations)))


def _migrations(folder: Path) -> list[Migration]:
    return [Migration(file.name, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql"))]


def _functions(folder: Path, migrations: Sequence[Migration]) -> list[FunctionFile]:
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.sql"))}
    # They are made over the tables as they are: a new migration makes all of them again.
    tables = " ".join(migration.name for migration in migrations)
    made: dict[str, FunctionFile] = {}
    for name in TopologicalSorter({name: _after(text) for name, text in texts.items()}).static_order():
        if name not in texts:
            raise ValueError(f"A file of sql/functions stands on {name}, which is not there.")
        beneath = "".join(made[other].sha256 for other in _after(texts[name]))
        made[name] = FunctionFile(name, texts[name], _sha256(texts[name] + beneath + tables))
    return list(made.values())


def _after(text: str) -> tuple[str, ...]:
    first = _first_line(text)
    return tuple(name.strip() for name in first.removeprefix(AFTER).split(",")) if first.startswith(AFTER) else ()


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0].strip()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
