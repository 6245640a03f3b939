"""What an arriving message means, and what opening and closing a turn does to the rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from coach.chat.choice import Choices
from coach.chat.features import FEATURES
from coach.chat.ledger import Ledger
from coach.chat.meaning import Busy, Replay
from coach.chat.opened import Opened
from coach.chat.prompt import Prompts
from coach.chat.schemas import ChatRequest
from coach.chat.settling import Ending, close, close_orphan
from coach.database.pool import Database
from coach.errors import Conflict, QuotaExhausted
from coach.models.offline import OfflineModel
from coach.stages.stages import SessionCommand

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
CHOICES = Choices({"offline": OfflineModel()}, Prompts())


class Desk:
    """A ledger and one person at it."""

    def __init__(self, db: Database, user: UUID, owner: Any, limit: int = 250) -> None:
        self.db, self.user, self.owner = db, user, owner
        self.ledger = Ledger(db, limit)
        self.now = NOW

    async def ask(self, message_id: str | None, text: str = "How am I doing?", **more: Any) -> Opened | Replay | Busy:
        self.now += timedelta(seconds=1)
        request = ChatRequest(**{"conversation_id": "c1", "message_id": message_id, "text": text} | more)
        async with self.ledger.opening(self.user, request, self.now) as opening:
            return await opening.begin(CHOICES.choose(request), CHOICES)

    async def opens(self, message_id: str | None, text: str = "How am I doing?", **more: Any) -> Opened:
        turn = await self.ask(message_id, text, **more)
        assert isinstance(turn, Opened), turn
        return turn

    async def answers(self, turn: Opened, text: str = "Well.", status: str = "complete", used: bool = True) -> bool:
        ending = Ending(status=status, text=text, used=used, model="offline")
        return await close(self.db, turn.reservation, ending, self.now)

    async def rows(self, sql: str) -> list[Any]:
        return await (await self.owner.execute(sql, {"user": self.user})).fetchall()

    async def quota(self) -> tuple[int, int]:
        rows = await self.rows("select used, reserved from ai_quota_months where user_id = %(user)s")
        return rows[0] if rows else (0, 0)


@pytest.fixture
async def desk(db: Database, owner: Any, new_user: Any) -> Desk:
    return Desk(db, await new_user(), owner)


async def test_a_turn_is_opened_and_closed(desk: Desk) -> None:
    turn = await desk.opens("m1")
    assert await desk.quota() == (0, 1)
    assert turn.quota.used == 1

    assert await desk.answers(turn)

    assert await desk.quota() == (1, 0)
    messages = await desk.rows(
        "select message_role, message_content, status from ai_conversation_memory"
        " where user_id = %(user)s order by 1 desc"
    )
    assert messages == [("user", "How am I doing?", "complete"), ("assistant", "Well.", "complete")]
    assert await desk.rows("select status, success from ai_interactions where user_id = %(user)s") == [
        ("completed", True)
    ]
    assert await desk.rows("select 1 from turn_checkpoints where user_id = %(user)s") == []


async def test_closing_twice_counts_once(desk: Desk) -> None:
    turn = await desk.opens("m1")
    assert await desk.answers(turn)
    assert not await desk.answers(turn, "Another ending.")
    assert await desk.quota() == (1, 0)
    assert await desk.rows(
        "select message_content from ai_conversation_memory where user_id = %(user)s and message_role = 'assistant'"
    ) == [("Well.",)]


async def test_a_repeat_finds_the_stored_answer_and_costs_nothing(desk: Desk) -> None:
    turn = await desk.opens("m1")
    await desk.answers(turn)
    for target in (None, "m1"):
        assert await desk.ask("m1", target_id=target) == Replay(turn.answer_id)
    assert await desk.quota() == (1, 0)


async def test_a_repeat_finds_the_running_answer(desk: Desk) -> None:
    turn = await desk.opens("m1")
    assert await desk.ask("m1") == Replay(turn.answer_id)


async def test_after_a_failure_a_repeat_runs_again(desk: Desk) -> None:
    first = await desk.opens("m1")
    await desk.answers(first, "", "failed", used=False)
    assert await desk.quota() == (0, 0)

    second = await desk.opens("m1")

    assert second.question_id == first.question_id
    assert second.answer_id != first.answer_id


async def test_another_text_under_a_known_id_is_a_conflict(desk: Desk) -> None:
    await desk.answers(await desk.opens("m1"))
    with pytest.raises(Conflict, match="m1"):
        await desk.ask("m1", "Something else")
    with pytest.raises(Conflict):
        await desk.ask("m1", "Something else", target_id="m0")
    assert await desk.quota() == (1, 0)


async def test_an_edit_is_a_sibling_with_the_same_parent(desk: Desk) -> None:
    await desk.answers(await desk.opens("m1"))
    second = await desk.opens("m2", "And now?")
    await desk.answers(second)

    edit = await desk.opens("m2", "And then?", target_id="m2")
    await desk.answers(edit)

    rows = await desk.rows(
        "select parent_id, revision_of from ai_conversation_memory where user_id = %(user)s and message_role = 'user'"
        " and message_content like 'And%%' order by created_at"
    )
    assert rows[0][0] == rows[1][0] is not None
    assert rows[1][1] == second.question_id
    assert edit.question_key not in ("m2", second.question_key)
    assert await desk.ask("m2", "And then?", target_id="m2") == Replay(edit.answer_id)
    assert await desk.ask("m2", "And now?") == Replay(second.answer_id)
    third = await desk.opens("m2", "And in the end?", target_id="m2")
    assert third.question_id not in (edit.question_id, second.question_id)


async def test_regenerating_adds_a_sibling_answer_and_joins_a_running_one(desk: Desk) -> None:
    first = await desk.opens("m1")
    await desk.answers(first)

    second = await desk.opens("m1", trigger="regenerate-message", target_id="whatever")
    assert second.question_id == first.question_id
    assert await desk.ask("m1", trigger="regenerate-message") == Replay(second.answer_id)

    await desk.answers(second)
    third = await desk.opens("m1", trigger="regenerate-message")
    assert third.answer_id != second.answer_id


async def test_regenerating_an_unknown_message_stores_it_first(desk: Desk) -> None:
    turn = await desk.opens("m1", trigger="regenerate-message")
    assert turn.question_key == "m1"


async def test_the_parent_is_the_last_answer_that_the_client_holds(desk: Desk) -> None:
    first = await desk.opens("m1")
    await desk.answers(first)
    second = await desk.opens("m2", "Two")
    await desk.answers(second)

    answers = [("assistant", key) for key in (second.answer_key, first.answer_key, "unknown")]
    known = (("user", "m1"), *answers)
    branch = await desk.opens("m3", "Three", known_ids=known)
    await desk.answers(branch)
    leaf = await desk.opens("m4", "Four")

    async def parent(turn: Opened) -> UUID:
        rows = await desk.rows(f"select parent_id from ai_conversation_memory where id = '{turn.question_id}'")
        return rows[0][0]

    assert await parent(branch) == first.answer_id
    assert await parent(leaf) == branch.answer_id


async def test_a_new_message_finds_the_conversation_busy(desk: Desk) -> None:
    turn = await desk.opens("m1")
    assert await desk.ask("m2", "Two") == Busy(turn.answer_id)
    assert await desk.quota() == (0, 1)
    assert len(await desk.rows("select 1 from ai_conversation_memory where user_id = %(user)s")) == 2


async def test_an_idempotency_key_leads_to_the_same_answer(desk: Desk) -> None:
    turn = await desk.opens(None, idempotency_key="k1")
    await desk.answers(turn)
    assert await desk.ask(None, idempotency_key="k1") == Replay(turn.answer_id)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await desk.ask(None, "Another", idempotency_key="k1")
    desk.now += timedelta(hours=25)
    assert isinstance(await desk.ask(None, "Another", idempotency_key="k1"), Opened)


@pytest.mark.parametrize(
    "other",
    [
        {"conversation_id": "another"},
        {"names_conversation": False},
        {"model": "offline"},
        {"incognito": True},
        {"session": SessionCommand("start", "grow")},
        {"feature": FEATURES[-1]},
        {"trigger": "regenerate-message"},
        {"target_id": "m1"},
        {"message_id": "m2"},
    ],
)
async def test_an_idempotency_key_means_all_of_a_request(desk: Desk, other: dict[str, Any]) -> None:
    asked = {"message_id": None, "conversation_id": "c1", "names_conversation": True, "idempotency_key": "k1"}
    turn = await desk.opens(**asked)
    await desk.answers(turn)
    assert await desk.ask(**asked) == Replay(turn.answer_id)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await desk.ask(**(asked | other))


async def test_a_key_is_repeated_under_the_name_that_the_server_gave_the_conversation(desk: Desk) -> None:
    turn = await desk.opens(None, conversation_id="made-up", idempotency_key="k1")
    await desk.answers(turn)
    named = {"names_conversation": True, "idempotency_key": "k1"}
    assert await desk.ask(None, conversation_id="made-up", **named) == Replay(turn.answer_id)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await desk.ask(None, conversation_id="another", **named)


async def test_twenty_equal_requests_open_one_turn(desk: Desk, database_url: str) -> None:
    wide = Database(database_url, min_size=20)  # so that they really meet: a pool that grows lets one in at a time
    await wide.open()
    desk.ledger = Ledger(wide, 250)
    outcomes = await asyncio.gather(*(desk.ask("m1") for _ in range(20)))
    opened = [o for o in outcomes if isinstance(o, Opened)]
    assert len(opened) == 1
    assert [o for o in outcomes if o is not opened[0]] == [Replay(opened[0].answer_id)] * 19
    assert await desk.quota() == (0, 1)
    await wide.close()


async def test_equal_keys_at_once_open_one_turn_even_without_a_conversation(desk: Desk, database_url: str) -> None:
    wide = Database(database_url, min_size=10)
    await wide.open()
    desk.ledger = Ledger(wide, 250)
    outcomes = await asyncio.gather(
        *(desk.ask(None, conversation_id=f"made-up-{n}", idempotency_key="k1") for n in range(10))
    )
    assert sum(isinstance(o, Opened) for o in outcomes) == 1
    assert await desk.quota() == (0, 1)
    await wide.close()


async def test_the_last_unit_goes_to_one_of_many_and_nothing_is_stored_for_the_others(desk: Desk) -> None:
    desk.ledger = Ledger(desk.db, 1)
    asks = (desk.ask("m1", conversation_id=f"c{n}") for n in range(20))
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert sum(isinstance(o, Opened) for o in outcomes) == 1
    refused = [o for o in outcomes if isinstance(o, QuotaExhausted)]
    assert len(refused) == 19
    assert (refused[0].limit, refused[0].used) == (1, 1)
    assert refused[0].resets_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert len(await desk.rows("select 1 from conversations where user_id = %(user)s")) == 1


async def test_a_limit_of_zero_grants_nothing_and_a_users_own_limit_counts(desk: Desk) -> None:
    await desk.owner.execute("insert into coach.ai_limits values (%s, 0)", (desk.user,))
    with pytest.raises(QuotaExhausted):
        await desk.ask("m1")
    await desk.owner.execute("update coach.ai_limits set monthly_limit = 2 where user_id = %s", (desk.user,))
    assert (await desk.opens("m1")).quota.limit == 2


async def test_each_warning_is_logged_once(desk: Desk) -> None:
    desk.ledger = Ledger(desk.db, 20)
    for n in range(20):
        turn = await desk.opens(f"m{n}", f"Question {n}")
        await desk.answers(turn)
    kinds = await desk.rows(
        "select webhook_type from webhook_logs where user_id = %(user)s order by triggered_at, 1 desc"
    )
    assert [k for (k,) in kinds] == ["quota_warning_80", "quota_warning_95", "quota_limit_reached"]


async def test_a_refund_in_another_month_goes_back_to_the_month_of_the_reservation(desk: Desk) -> None:
    turn = await desk.opens("m1")
    desk.now = datetime(2026, 4, 2, tzinfo=UTC)
    await desk.answers(turn, "", "failed", used=False)
    assert await desk.rows("select month::text, used, reserved from ai_quota_months where user_id = %(user)s") == [
        ("2026-03-01", 0, 0)
    ]


async def test_an_orphan_is_closed_with_its_last_checkpoint_and_only_when_it_is_dead(desk: Desk) -> None:
    turn = await desk.opens("m1")
    await desk.owner.execute("update turn_checkpoints set content = 'So far' where user_id = %s", (desk.user,))

    assert not await close_orphan(desk.db, desk.user, turn.answer_id, desk.now + timedelta(seconds=9))
    assert await close_orphan(desk.db, desk.user, turn.answer_id, desk.now + timedelta(seconds=11))

    assert await desk.rows(
        "select message_content, status from ai_conversation_memory"
        " where user_id = %(user)s and message_role = 'assistant'"
    ) == [("So far", "interrupted")]
    assert await desk.quota() == (1, 0)
    assert not await desk.answers(turn), "the turn that came back must not settle again"


async def test_an_orphan_without_text_gives_its_unit_back(desk: Desk) -> None:
    turn = await desk.opens("m1")
    assert await close_orphan(desk.db, desk.user, turn.answer_id, desk.now + timedelta(seconds=11))
    assert await desk.quota() == (0, 0)
    assert await desk.rows("select status from ai_interactions where user_id = %(user)s") == [("refunded",)]


async def test_another_users_message_ids_and_conversations_are_absent(desk: Desk, new_user: Any) -> None:
    await desk.answers(await desk.opens("m1"))
    stranger = Desk(desk.db, await new_user(), desk.owner)
    turn = await stranger.opens("m1", "Other words")
    assert turn.conversation_key == "c1"
    assert await close_orphan(desk.db, desk.user, turn.answer_id, desk.now + timedelta(days=1)) is False


async def test_two_hundred_turns_at_once_do_not_deadlock(desk: Desk) -> None:
    desk.ledger = Ledger(desk.db, 250, at_once=200)

    async def whole(n: int) -> None:
        turn = await desk.opens(f"m{n}", f"Q{n}", conversation_id=f"c{n % 7}-{n}")
        await desk.answers(turn)

    await asyncio.gather(*(whole(n) for n in range(200)))
    assert await desk.quota() == (200, 0)
