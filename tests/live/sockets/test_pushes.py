"""What the server tells by itself, to every open socket of a person, on every process."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from websockets.asyncio.client import connect

from coach.database.pool import Database
from coach.realtime import pushes as module
from coach.realtime.hub import Hub
from coach.realtime.pushes import CHANNEL, Pushes, prune
from coach.settings import load_settings
from coach.testing.stub_script import Answer
from tests.live.conftest import SECRET
from tests.live.sockets.conftest import Wire
from tests.live.sockets.test_limits import dropped, drops
from tests.stub.fixtures import asking

DEAF = "postgresql://nobody@127.0.0.1:1/none"


def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def coach_settings(database_url, worker_url, provider):
    """With a worker inside."""
    return load_settings(
        database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET, **asking(provider),
    )  # fmt: skip


@pytest.fixture
async def elsewhere(db):
    """Another process, without sockets."""
    return Pushes(db, Hub(now), DEAF, now)


async def silent(wire, kind, seconds=1.0):
    try:
        async with asyncio.timeout(seconds):
            await wire.push(kind)
    except TimeoutError:
        return True
    return False


async def test_a_push_of_another_process_reaches_every_socket_of_the_user_and_no_other(person, opens, elsewhere):
    ann, ben = await person(), await person()
    hers, his = [await opens(ann), await opens(ann)], await opens(ben)
    await ready(*hers, his)

    await elsewhere.push(ann.user_id, {"type": "nudge", "body": "The MRI"})

    assert [await wire.push("nudge") for wire in hers] == [
        {"type": "nudge", "body": "The MRI", "requestId": "$push"}
    ] * 2
    assert await silent(his, "nudge")


async def ready(*wires):
    for wire in wires:
        await wire.sends(type="resume", requestId="r0", id="c0")
        await wire.answer("r0")


async def test_each_push_is_sent_once_and_in_order(ann, opens, elsewhere):
    wire = await opens(ann)
    await ready(wire)

    for place in range(5):
        await elsewhere.push(ann.user_id, {"type": "nudge", "place": place})

    assert [(await wire.push("nudge"))["place"] for _ in range(5)] == list(range(5))
    await elsewhere.push(ann.user_id, {"type": "session", "stage": "goal"})
    frames = await wire.until(lambda f: f["type"] == "session")
    assert [f for f in frames if f["type"] == "nudge"] == []


async def test_a_socket_gets_no_push_from_before_it_opened(ann, opens, elsewhere):
    await elsewhere.push(ann.user_id, {"type": "nudge", "place": "before"})
    await asyncio.sleep(1.2)
    wire = await opens(ann)
    await ready(wire)

    await elsewhere.push(ann.user_id, {"type": "nudge", "place": "after"})

    assert (await wire.push("nudge"))["place"] == "after"


async def test_a_process_that_cannot_listen_finds_pushes_by_looking(ann, db, elsewhere, monkeypatch):
    monkeypatch.setattr(module, "POLL", 0.2)
    told = []
    hub = Hub(now)

    class Told:
        user_id, opened_at, replies, code = ann.user_id, now(), {}, None

        def push(self, frame):
            told.append(frame)
            return True

        def let_go(self):
            pass

    deaf = Pushes(db, hub, DEAF, now)
    with hub.joined(Told()):
        deaf.start()
        await elsewhere.push(ann.user_id, {"type": "nudge"})
        for _ in range(100):
            if told:
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)
        await deaf.aclose()

    assert told == [b'{"type":"nudge","requestId":"$push"}']


async def test_a_push_of_this_process_is_sent_once(ann, db):
    told = []
    hub = Hub(now)
    hub.push = lambda user_id, frame, created_at=None: told.append(frame)
    here = Pushes(db, hub, DEAF, now)

    await here.push(ann.user_id, {"type": "nudge"})
    await here._deliver([ann.user_id])

    assert told == [{"type": "nudge"}]


async def test_a_notification_names_only_the_user(ann, elsewhere, owner):
    await owner.execute(f"listen {CHANNEL}".encode())

    await elsewhere.push(ann.user_id, {"type": "nudge", "body": "The MRI"})

    payloads = [note.payload async for note in owner.notifies(timeout=20, stop_after=1)]
    assert payloads == [str(ann.user_id)]


async def test_a_notification_of_nonsense_changes_nothing(ann, opens, elsewhere, owner):
    wire = await opens(ann)
    await ready(wire)
    for payload in ("", "nonsense", "x" * 7_000):
        await owner.execute("select pg_notify(%s, %s)", (CHANNEL, payload))

    await elsewhere.push(ann.user_id, {"type": "nudge"})

    assert (await wire.push("nudge"))["type"] == "nudge"


async def test_the_turns_that_reach_80_95_and_100_percent_tell_so_on_every_socket(ann, opens, stub, owner):
    stub.always(Answer(text="Rest."))
    await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, 10)", (ann.user_id,))
    wire = await opens(ann)

    for place in range(10):
        await ann.asks("Hello", id=f"c{place}")
    warnings = [await wire.push("quota") for _ in range(2)]

    assert [(each["warning"], each["used"], each["remaining"]) for each in warnings] == [(80, 8, 2), (100, 10, 0)]
    assert set(warnings[0]) == {"type", "requestId", "limit", "used", "remaining", "resets_at", "warning"}
    assert await silent(wire, "quota", 0.5)


async def test_finished_rows_are_pushed_by_entity_kind(person, opens, db):
    ann, ben = await person(), await person()
    hers, his = await opens(ann), await opens(ben)
    await ready(hers, his)
    async with db.as_user(ann.user_id) as tx:
        await tx.execute("insert into tasks (user_id, name) values (%s, 'Buy shoes')", (ann.user_id,))

    assert await hers.push("data-changed") == {"type": "data-changed", "domain": "task", "requestId": "$push"}
    assert await silent(his, "data-changed")


async def test_pushes_and_tickets_are_gone_soon(ann, elsewhere, worker_url, owner):
    await elsewhere.push(ann.user_id, {"type": "nudge"})
    await ann.client.post("/api/ws-ticket", headers=ann.headers)
    await elsewhere.push(ann.user_id, {"type": "nudge"})
    await owner.execute("update pushes set created_at = now() - interval '6 minutes'")
    await owner.execute("update socket_tickets set expires_at = now() - interval '1 second'")
    await elsewhere.push(ann.user_id, {"type": "nudge"})
    operator = Database(worker_url)
    await operator.open()

    await prune(operator, now())

    await operator.close()
    for table, left in (("pushes", 1), ("socket_tickets", 0)):
        rows = await owner.execute(f"select count(*) from {table} where user_id = %s".encode(), (ann.user_id,))
        assert await rows.fetchone() == (left,)


async def test_who_does_not_read_what_is_pushed_is_let_go(ann, coach_url, elsewhere):
    url = coach_url.replace("http", "ws") + "/ws/chat"
    async with connect(url, subprotocols=["coach.v1", ann.token], max_queue=1) as socket:
        wire = Wire(socket)
        await ready(wire)
        before = await drops(ann)
        for _ in range(140):
            await elsewhere.push(ann.user_id, {"type": "nudge", "body": "x" * 60_000})
        await dropped(ann, before + 1)

        code, _ = await wire.closed()

    assert code == 1013
