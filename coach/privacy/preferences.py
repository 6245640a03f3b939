"""Preferences in their row. What a withdrawn consent purges, its trigger does in the same transaction."""

from __future__ import annotations

from uuid import UUID

from psycopg.types.json import Jsonb

from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.database.wake import notify_work
from coach.privacy.schemas import Preferences, PreferencesChange, checked

_sql = load("preferences")


async def read(db: Database, user_id: UUID) -> Preferences:
    """Where nothing was ever chosen, the defaults."""
    async with db.as_user(user_id) as tx:
        return await _read(tx, user_id)


async def change(db: Database, user_id: UUID, wanted: PreferencesChange) -> Preferences:
    """All of it or nothing; the answer is what holds from now on.

    :raises InvalidInput: names the field.
    """
    changes = checked(wanted)
    async with db.as_user(user_id) as tx:
        if changes:
            await _sql.change_preferences.value(tx, user_id=user_id, changes=Jsonb(changes))
            # A consent that is given again leaves work behind.
            await notify_work(tx)
        return await _read(tx, user_id)


async def _read(tx: Transaction, user_id: UUID) -> Preferences:
    found = await _sql.preferences.one(tx, Preferences, user_id=user_id)
    assert found is not None  # of no row these are the defaults
    return found
