"""``coach bench edits``: how soon a change of life that an app makes in SQL is found by ``GET /api/search``.

A real server process with its worker inside, a database of its own, the offline embedder. Nobody notifies, as no app
would: what is measured has the poll in it. Two clocks run from the commit: until the vector is stored, looked for in
the table, and until the search has the new words, asked over HTTP.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import perf_counter
from uuid import UUID

from httpx import AsyncClient
from msgspec import Struct

from coach.bench.rig import lives, server, token_of
from coach.bench.wire import percentiles
from coach.database.pool import Database
from coach.database.queries import load
from coach.database.wake import POLL
from coach.testing.scratch import scratch

GOAL = 2.0
LONGEST = 30.0
"""Seconds after which a change counts as lost; the bench ends there, with an error."""

LOOK, ASK = 0.01, 0.25
"""Seconds between two looks at the table, and between two searches while nothing is stored. Each search takes some ten
milliseconds of the process that embeds: asked without a pause, they would be what is measured."""

_sql = load("bench")


class Size(Struct, frozen=True):
    """``people`` users make changes at the same time, each at random moments."""

    edits: int = 500
    people: int = 3


SMOKE = Size(edits=4, people=2)


class Spread(Struct, frozen=True):
    """Seconds."""

    p50: float
    p95: float
    longest: float


class Result(Struct, frozen=True):
    """``stale`` counts the searches that found the words while the receipt still named waiting rows."""

    edits: int
    stored: Spread
    found: Spread
    stale: int
    goal: float = GOAL

    @property
    def is_met(self) -> bool:
        return self.found.p95 <= self.goal


class _Seen(Struct, frozen=True):
    stored: float
    found: float
    stale: int


class _Lane(Struct, frozen=True):
    """The changes of one user, one after the other."""

    db: Database
    client: AsyncClient
    user_id: UUID
    number: int

    async def follow(self, count: int) -> list[_Seen]:
        dice = random.Random(self.number)  # noqa: S311 - spreads the edits over the poll, guards nothing
        seen = []
        for number in range(count):
            # At any moment of the poll: straight after a find, each would wait for a whole one.
            await asyncio.sleep(dice.random() * POLL)
            seen.append(await self._follow(f"zebra{self.number}x{number}", number))
        return seen

    async def _follow(self, word: str, number: int) -> _Seen:
        async with self.db.as_user(self.user_id, role="authenticated") as tx:
            task: UUID = await _sql.edit_some_task.value(
                tx, user_id=self.user_id, name=f"Paint the {word}", number=number
            )
        committed = perf_counter()
        stored, is_stored = 0.0, asyncio.Event()

        async def look() -> None:
            nonlocal stored
            while not await self._is_stored(task, word):  # noqa: ASYNC110 - another process's commit sets no event
                await asyncio.sleep(LOOK)
            stored = perf_counter() - committed
            is_stored.set()

        async with asyncio.timeout(LONGEST), asyncio.TaskGroup() as group:
            group.create_task(look())
            while (stale := await self._stale_where_found(word)) is None:
                try:
                    await asyncio.wait_for(is_stored.wait(), ASK)
                except TimeoutError:
                    continue
            found = perf_counter() - committed
        # What is found is stored: a look that was late to see it does not make it so later.
        return _Seen(min(stored, found), found, stale)

    async def _is_stored(self, task: UUID, word: str) -> bool:
        async with self.db.as_operator() as tx:
            is_stored: bool = await _sql.is_embedded.value(tx, user_id=self.user_id, task_id=task, word=word)
        return is_stored

    async def _stale_where_found(self, word: str) -> int | None:
        """The receipt's count of waiting rows; None if the words are not found."""
        response = await self.client.get("/api/search", params={"q": word})
        response.raise_for_status()
        result = response.json()
        if not any(word in item["snippet"] for item in result["items"]):
            return None
        return int(result["context"]["stale"])


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Measure on a server of its own; nothing leaves loopback.

    :raises TimeoutError: a change was not found within ``LONGEST``.
    """
    async with scratch("coach-bench-") as place:
        db = place.owner
        progress(f"loading {size.people} lives")
        people = await lives(db, size.people)
        with server(place.home, {"COACH_CHAT_MODEL": "offline"}) as (_, port):
            progress(f"{size.edits} edits until a search finds them")
            shares = [len(range(lane, size.edits, size.people)) for lane in range(size.people)]
            lanes = await asyncio.gather(
                *(_lane(db, port, user, number, shares[number]) for number, user in enumerate(people))
            )
    seen = [each for lane in lanes for each in lane]
    return Result(
        edits=len(seen),
        stored=_spread([each.stored for each in seen]),
        found=_spread([each.found for each in seen]),
        stale=sum(each.stale > 0 for each in seen),
    )


async def _lane(db: Database, port: int, user_id: UUID, number: int, count: int) -> list[_Seen]:
    headers = {"Authorization": f"Bearer {token_of(user_id)}"}
    async with AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=LONGEST) as client:
        await client.get("/api/search", params={"q": "warm"})
        return await _Lane(db, client, user_id, number).follow(count)


def _spread(waits: list[float]) -> Spread:
    cuts = percentiles(waits)
    return Spread(cuts[49], cuts[94], max(waits))


def table(result: Result) -> str:
    rows = (("vector stored", result.stored), ("found by /api/search", result.found))
    return "\n".join(
        [
            f"{result.edits} edits in SQL [s]          p50    p95    max",
            *(f"{name:<24} {each.p50:6.2f} {each.p95:6.2f} {each.longest:6.2f}" for name, each in rows),
            f"goal: found within {result.goal:g} s at p95: {'met' if result.is_met else 'MISSED'}",
            f"{result.stale} of them were found while something else of the same person still waited",
        ]
    )
