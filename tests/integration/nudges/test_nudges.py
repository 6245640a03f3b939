"""Who is nudged about what, and when nobody is: over the rows, at given times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from psycopg import AsyncConnection

from coach.database.pool import Database
from coach.nudges.repository import dismiss, listed, make_nudges

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
Owner = AsyncConnection[Any]


class Life:
    """One person, what there is to nudge them about, and what they were told."""

    def __init__(self, owner: Owner, operator: Database, db: Database, user_id: UUID) -> None:
        self.owner, self.operator, self.db, self.user_id = owner, operator, db, user_id

    async def runs(self, text: str, *values: Any) -> None:
        await self.owner.execute(text.replace("$user", f"'{self.user_id}'").encode(), values)

    async def owes(self, title: str = "Book the MRI", due: date = date(2026, 11, 20), **task: Any) -> UUID:
        """A commitment that was accepted into a task."""
        task_id, id_ = uuid4(), uuid4()
        await self.runs(
            "insert into tasks (user_id, id, name, due_date, completed, archived) values ($user, %s, %s, %s, %s, %s)",
            task_id, title, due, task.get("completed", False), task.get("archived", False),
        )  # fmt: skip
        await self.runs(
            "insert into commitments (user_id, id, title, due_date, status, task_id) "
            "values ($user, %s, %s, %s, 'accepted', %s)",
            id_, title, due, task_id,
        )  # fmt: skip
        return id_

    async def writes(self, *days: date) -> None:
        for day in days:
            at = datetime.combine(day, time(12), tzinfo=UTC)
            await self.runs("insert into journal_entries (user_id, content, created_at) values ($user, 'x', %s)", at)

    async def neglects(self, name: str = "Health", days: int = 15, completed: bool = False) -> None:
        at, (pillar, area, project) = NOON - timedelta(days=days), (uuid4(), uuid4(), uuid4())
        await self.runs(
            "insert into pillars (user_id, id, name, created_at) values ($user, %s, %s, %s)",
            pillar, name, NOON - timedelta(days=100),
        )  # fmt: skip
        await self.runs("insert into areas (user_id, id, pillar_id, name) values ($user, %s, %s, 'a')", area, pillar)
        await self.runs("insert into projects (user_id, id, area_id, name) values ($user, %s, %s, 'p')", project, area)
        await self.runs(
            "insert into tasks (user_id, project_id, name, completed, created_at, updated_at) "
            "values ($user, %s, 't', %s, %s, %s)",
            project, completed, at, at,
        )  # fmt: skip

    async def flows(self, kind: str, at: datetime, duration_ms: int | None = None) -> None:
        await self.runs(
            "insert into user_behavior_events (user_id, action_type, timestamp, duration_ms) "
            "values ($user, %s, %s, %s)",
            kind, at, duration_ms,
        )  # fmt: skip

    async def prefers(self, **values: Any) -> None:
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        await self.runs(
            f"insert into user_analytics_preferences (user_id, {names}) values ($user, {places})", *values.values()
        )

    async def lives_in(self, zone: str) -> None:
        await self.runs("update user_profiles set timezone = %s where id = $user", zone)

    async def told(self, now: datetime = NOON) -> list[str]:
        """The kinds of all nudges that were ever made, after the job has run."""
        await make_nudges(self.operator, now)
        rows = await self.owner.execute(
            "select kind from nudges where user_id = %s order by created_at, kind", (self.user_id,)
        )
        return [row[0] for row in await rows.fetchall()]


@pytest.fixture
async def operator(worker_url: str) -> AsyncIterator[Database]:
    database = Database(worker_url)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def life(owner: Owner, operator: Database, db: Database, new_user: Callable[[], Awaitable[UUID]]) -> Life:
    return Life(owner, operator, db, await new_user())


async def test_a_user_without_a_reason_gets_no_nudge(life: Life):
    assert await life.told() == []


@pytest.mark.parametrize(
    ("due", "task", "expected"),
    [
        (date(2026, 11, 23), {}, ["overdue_commitment"]),
        (date(2026, 11, 24), {}, []),
        (date(2026, 11, 20), {"completed": True}, []),
        (date(2026, 11, 20), {"archived": True}, []),
    ],
)
async def test_a_commitment_is_overdue_the_day_after(life: Life, due: date, task: dict[str, bool], expected: list[str]):
    await life.owes(due=due, **task)

    assert await life.told() == expected


async def test_a_day_begins_by_the_users_clock(life: Life):
    await life.lives_in("Pacific/Auckland")  # 01:00 on the 25th there, and no quiet hours
    await life.prefers(quiet_from=time(0), quiet_until=time(0))
    await life.owes(due=date(2026, 11, 24))

    assert await life.told() == ["overdue_commitment"]


@pytest.mark.parametrize(
    ("back", "expected"),
    [((2, 3, 4), ["broken_streak"]), ((1, 2, 3, 4), []), ((0, 2, 3, 4), []), ((2, 3), []), ((3, 4), []), ((), [])],
)
async def test_a_streak_is_broken_by_one_quiet_day_after_three(life: Life, back: tuple[int, ...], expected: list[str]):
    await life.writes(*(NOON.date() - timedelta(days=days) for days in back))

    assert await life.told() == expected


@pytest.mark.parametrize(("days", "expected"), [(15, ["neglected_pillar"]), (13, [])])
async def test_a_pillar_is_neglected_after_two_weeks(life: Life, days: int, expected: list[str]):
    await life.neglects(days=days)

    assert await life.told() == expected


async def test_a_pillar_with_nothing_left_to_do_is_not_neglected(life: Life):
    await life.neglects(completed=True)

    assert await life.told() == []


async def test_a_user_gets_two_nudges_a_day_and_the_rest_wait(life: Life):
    for number in range(3):
        await life.owes(f"Promise {number}")
    await life.neglects()

    assert await life.told() == ["overdue_commitment"] * 2
    assert await life.told(NOON + timedelta(hours=6)) == ["overdue_commitment"] * 2
    assert await life.told(NOON + timedelta(days=1)) == [
        "overdue_commitment", "overdue_commitment", "neglected_pillar", "overdue_commitment",
    ]  # fmt: skip


async def test_a_nudge_is_made_once_a_week_even_if_dismissed(life: Life):
    await life.owes()
    await asyncio.gather(*(make_nudges(life.operator, NOON) for _ in range(4)))
    (nudge,) = (await listed(life.db, life.user_id, 50, None, NOON)).items
    await dismiss(life.db, life.user_id, str(nudge.id), NOON)

    assert (await listed(life.db, life.user_id, 50, None, NOON)).items == []
    assert await life.told(NOON + timedelta(days=5)) == ["overdue_commitment"]
    assert await life.told(NOON + timedelta(days=6)) == ["overdue_commitment"] * 2


@pytest.mark.parametrize(
    ("hour", "minute", "is_told"),
    [(20, 59, True), (21, 0, False), (23, 59, False), (0, 0, False), (7, 59, False), (8, 0, True)],
)
async def test_quiet_hours_follow_the_users_clock(life: Life, hour: int, minute: int, is_told: bool):
    await life.lives_in("America/New_York")
    await life.owes(due=date(2026, 11, 1))
    local = datetime(2026, 11, 24, hour, minute, tzinfo=ZoneInfo("America/New_York"))

    assert await life.told(local) == (["overdue_commitment"] if is_told else [])


@pytest.mark.parametrize(
    ("quiet", "hour", "is_told"),
    [((12, 14), 11, True), ((12, 14), 12, False), ((12, 14), 13, False), ((12, 14), 14, True), ((9, 9), 9, True)],
)
async def test_quiet_hours_may_lie_within_a_day_or_be_none(
    life: Life, quiet: tuple[int, int], hour: int, is_told: bool
):
    await life.prefers(quiet_from=time(quiet[0]), quiet_until=time(quiet[1]))
    await life.owes(due=date(2026, 11, 1))

    assert await life.told(NOON.replace(hour=hour)) == (["overdue_commitment"] if is_told else [])


@pytest.mark.parametrize(
    ("now", "is_told"),
    [
        # Berlin's clocks go back on 25 October 2026 at 01:00 UTC and forward on 28 March 2027.
        (datetime(2026, 10, 24, 6, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 25, 6, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 25, 7, 0, tzinfo=UTC), True),
        (datetime(2027, 3, 27, 6, 59, tzinfo=UTC), False),
        (datetime(2027, 3, 28, 6, 0, tzinfo=UTC), True),
        (datetime(2027, 3, 28, 5, 59, tzinfo=UTC), False),
    ],
)
async def test_quiet_hours_follow_the_clocks_when_these_change(life: Life, now: datetime, is_told: bool):
    await life.lives_in("Europe/Berlin")
    await life.owes(due=date(2026, 10, 1))

    assert await life.told(now) == (["overdue_commitment"] if is_told else [])


@pytest.mark.parametrize(
    ("events", "is_told"),
    [
        ([("flow_entry", 10)], False),
        ([("flow_entry", 239)], False),
        ([("flow_entry", 241)], True),
        ([("flow_entry", 30), ("flow_exit", 10)], True),
        ([("flow_exit", 30), ("flow_entry", 10)], False),
        ([("flow_entry", -10)], True),
        ([("flow_session", 59, 3_600_000)], False),
        ([("flow_session", 60, 3_600_000)], True),
        ([("flow_session", 10, None)], True),
        ([("context_switch", 1)], True),
    ],
)
async def test_no_nudge_is_made_in_flow(life: Life, events: list[tuple[Any, ...]], is_told: bool):
    await life.owes()
    for kind, minutes, *duration in events:
        await life.flows(kind, NOON - timedelta(minutes=minutes), *duration)

    assert await life.told() == (["overdue_commitment"] if is_told else [])


@pytest.mark.parametrize("consent", ["analytics_consent", "ai_behavior_tracking"])
async def test_without_consent_no_nudge_is_made_or_shown(life: Life, consent: str):
    await life.owes()
    await life.prefers(**{consent: False})
    assert await life.told() == []

    await life.runs(f"update user_analytics_preferences set {consent} = true where user_id = $user")
    assert await life.told() == ["overdue_commitment"]
    await life.runs(f"update user_analytics_preferences set {consent} = false where user_id = $user")
    assert (await listed(life.db, life.user_id, 50, None, NOON)).items == []


async def test_what_is_past_is_not_shown(life: Life):
    await life.writes(*(NOON.date() - timedelta(days=days) for days in (2, 3, 4)))
    await make_nudges(life.operator, NOON)

    assert len((await listed(life.db, life.user_id, 50, None, NOON + timedelta(hours=11))).items) == 1
    assert (await listed(life.db, life.user_id, 50, None, NOON + timedelta(hours=12))).items == []


async def test_what_is_made_is_pushed(life: Life):
    await life.owes("Call Tom")
    await make_nudges(life.operator, NOON)

    rows = await life.owner.execute("select frame from pushes where user_id = %s", (life.user_id,))
    ((frame,),) = await rows.fetchall()
    assert frame["type"] == "nudge"
    assert frame["nudge"]["kind"] == "overdue_commitment"
    assert "Call Tom" in frame["nudge"]["body"]
