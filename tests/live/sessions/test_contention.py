"""The worker's jobs beside a person whose app left a transaction open: what is another's is done all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coach.database.pool import Database
from coach.models.configure import Models
from coach.sessions.concluding import conclude_overdue_sessions
from coach.sessions.overdue import judge_overdue_sessions
from coach.settings import Settings
from coach.testing.stub_provider import StubProvider
from tests.integration.pipeline.test_contention import hesitant
from tests.live.conftest import ApiUser
from tests.live.sessions.conftest import Couch
from tests.live.sessions.test_late_judgement import YES, lost
from tests.live.sockets.conftest import coach_settings

__all__ = ["coach_settings", "hesitant"]

Hesitant = Callable[[Any], Awaitable[None]]


@pytest.fixture
async def couches(person: Callable[[], Awaitable[ApiUser]], provider: StubProvider) -> tuple[Couch, Couch]:
    provider.reset()
    return Couch(await person()), Couch(await person())


async def test_sessions_are_concluded(couches: tuple[Couch, Couch], owner: Any, operator: Database, hesitant: Hesitant):
    at = datetime.now(UTC)
    for couch in couches:
        await couch.starts("free")
        await owner.execute("update coaching_sessions set ended_at = %s where user_id = %s", (at, couch.person.user_id))
    await hesitant(couches[0].person.user_id)

    async with asyncio.timeout(5):
        await conclude_overdue_sessions(operator, at + timedelta(minutes=4))

    assert [(await couch.session())["status"] for couch in couches] == ["ending", "ended"]


async def test_stages_are_judged(
    couches: tuple[Couch, Couch],
    operator: Database,
    provider: StubProvider,
    coach_settings: Settings,
    hesitant: Hesitant,
):
    for couch in couches:
        await lost(couch, provider)
    before = provider.calls
    provider.will(YES)
    await hesitant(couches[0].person.user_id)

    models = Models(coach_settings)
    async with aclosing(models), asyncio.timeout(5):
        await judge_overdue_sessions(operator, datetime.now(UTC) + timedelta(minutes=3), model=models.default)

    assert [(await couch.session())["stage"] for couch in couches] == ["goal", "reality"]
    assert provider.calls == before + 1, "for nothing nobody is asked"
    provider.cut()
    await provider.until(lambda stub: stub.open_streams == 0)
