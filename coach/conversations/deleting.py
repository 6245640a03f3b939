"""Deleting a conversation that may be in the middle of an answer, here or in another process."""

from __future__ import annotations

import asyncio
from uuid import UUID

from coach.chat.settling import close_orphan
from coach.chat.turns import Turns
from coach.conversations import repository
from coach.database.pool import Database
from coach.values.clock import utc_now

ATTEMPTS, PAUSE = 60, 0.2
"""Twelve seconds: an orphan is closed after ten. A turn that does not end even then finds no row to write to, and the
worker refunds its reservation."""


async def delete(db: Database, turns: Turns, user_id: UUID, key: str) -> None:
    """Stop a running turn, wait for its end, and delete the conversation.

    :raises NotFound: absent, or another user's.
    """
    for _ in range(ATTEMPTS):
        running = await repository.delete(db, user_id, key)
        if not running:
            return
        await turns.stop(user_id, key)
        for answer_id in running:
            await close_orphan(db, user_id, answer_id, utc_now())
        await asyncio.sleep(PAUSE)
    await repository.delete(db, user_id, key, even_running=True)
