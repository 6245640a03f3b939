"""The services over a database for one measurement: embedded, migrated, empty, and gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from coach.database.operators import operators_database
from coach.database.pool import Database
from coach.services import Services, open_services
from coach.settings import load_settings


@dataclass(frozen=True)
class Scratch:
    """``owner`` may act as any role."""

    services: Services
    owner: Database

    @property
    def home(self) -> Path:
        return self.services.settings.home


@asynccontextmanager
async def scratch(prefix: str = "coach-scratch-") -> AsyncIterator[Scratch]:
    """The database while inside, with the configured embedder and models over it."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        home = Path(folder) / "home"
        # Below a directory that others may enter: as root the server runs as a user of its own. The data themselves
        # stay in one that only that user can open.
        home.parent.chmod(0o711)
        settings = load_settings().model_copy(update={"home": home, "database_url": None, "worker_database_url": None})
        async with (
            open_services(settings) as services,
            operators_database(services.urls.owner or services.urls.server) as owner,
        ):
            yield Scratch(services, owner)
