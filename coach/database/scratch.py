"""A database for one measurement: embedded, migrated, empty, and gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from coach.database.opening import opened
from coach.settings import Settings


class Scratch(Struct, frozen=True):
    """Where it lies, and how to log in: ``owner`` may act as anybody."""

    home: Path
    owner: str


@asynccontextmanager
async def scratch(prefix: str = "coach-scratch-") -> AsyncIterator[Scratch]:
    """The database while inside."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        home = Path(folder) / "home"
        # Below a directory that others may enter: as root the server runs as a user of its own. The data themselves
        # stay in one that only that user can open.
        home.parent.chmod(0o711)
        settings = Settings(home=home, database_url=None, _env_file=None)  # type: ignore[call-arg]
        async with opened(settings) as urls:
            yield Scratch(home, urls.owner or urls.server)
