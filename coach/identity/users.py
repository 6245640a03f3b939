"""The accounts that this server makes or checks."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID, uuid5

from psycopg.errors import UniqueViolation

from coach.database.pool import Database, Transaction
from coach.errors import Conflict, InvalidInput

# A fixed namespace: the same name must give the same user on every start.
_ACCOUNT_NAMESPACE = UUID("6f1d3c52-4c3e-5f0a-9f0b-2a7c9b1e8d44")
MAX_NAME = 64
REMEMBERED_FOR = 600.0
MAX_REMEMBERED = 50_000


async def ensure_user(tx: Transaction, name: str) -> UUID:
    """The user of that name, created if missing, the same each time. ``tx`` is an operator's.

    :raises InvalidInput: no usable name. :raises Conflict: another account goes by it.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidInput("name", f"must be 1 to {MAX_NAME} printable characters.")
    user_id = uuid5(_ACCOUNT_NAMESPACE, name.lower())
    await tx.execute("select coach.add_account(%s)", (user_id,))
    try:
        # An app's own trigger may have made the profile already, without a name.
        await tx.execute(
            """
            insert into user_profiles as p (id, username)
            values (%s, %s)
            on conflict (id) do update
            set username = excluded.username
            where p.username is null
            """,
            (user_id, name),
        )
    except UniqueViolation:
        raise Conflict(f"Another account has the username {name}.") from None
    return user_id


class Accounts:
    """Which users of valid tokens exist here. Asked on every request, so answers are kept for ten minutes."""

    def __init__(self, db: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._clock = db, clock
        self._admitted: OrderedDict[UUID, float] = OrderedDict()

    async def admit(self, user_id: UUID) -> None:
        """Let a known account in, with a profile if it has none yet.

        :raises Unauthenticated: there is no such account; the token outlived it, or is another system's.
        """
        if self._admitted.get(user_id, float("-inf")) > self._clock() - REMEMBERED_FOR:
            return
        async with self._db.as_user(user_id) as tx:
            await tx.execute("insert into user_profiles (id) values (%s) on conflict (id) do nothing", (user_id,))
        self._remember(user_id)

    def _remember(self, user_id: UUID) -> None:
        self._admitted[user_id] = self._clock()
        self._admitted.move_to_end(user_id)
        while len(self._admitted) > MAX_REMEMBERED:
            self._admitted.popitem(last=False)
