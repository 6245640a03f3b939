"""What operators ask, what users see of the pipeline, and that neither reaches the other's."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from coach.settings import load_settings
from tests.live.conftest import SECRET

TOKEN = "metrics-token-of-the-tests"


@pytest.fixture(scope="module")
def coach_settings(database_url, worker_url):
    return load_settings(
        database_url=database_url,
        worker_database_url=worker_url,
        jwt_secret=SECRET,
        metrics_token=TOKEN,
        log_level="error",
    )


@pytest.fixture
def operator(client, token_for):
    """``await operator("GET", "/admin/pipeline")``."""

    async def ask(method: str, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token_for(None, role='service_role')}"}
        return await client.request(method, path, headers=headers)

    return ask


@pytest.fixture
def queued(owner):
    """``await queued(user, given_up=True)``: a row that no worker takes within this test."""

    async def make(user, *, given_up=False, seconds=0):
        await owner.execute(
            "insert into embedding_queue"
            " (user_id, entity_table, entity_id, attempts, last_error, not_before, created_at, leased_until)"
            " values (%s, 'tasks', %s, %s, %s, %s::timestamptz, now() - %s * interval '1 second', 'infinity')",
            (user, uuid4(), *((8, "refused", "infinity") if given_up else (0, None, "2020-01-01")), seconds),
        )

    return make


@pytest.fixture(autouse=True)
async def nothing_queued(owner):
    await owner.execute("delete from embedding_queue")
    await owner.execute("delete from webhook_logs")


async def test_users_see_only_their_own_waiting_rows(ann, person, queued):
    ben = await person()
    assert (await ann.gets("/api/me/pipeline")).json() == {"waiting": 0, "failed": 0, "oldest_seconds": 0}
    await queued(ann.user_id, seconds=90)
    await queued(ann.user_id, given_up=True, seconds=500)
    await queued(ben.user_id, seconds=900)

    told = (await ann.gets("/api/me/pipeline")).json()

    assert (told["waiting"], told["failed"]) == (1, 1)
    assert 90 <= told["oldest_seconds"] < 120


async def test_the_audit_trail_has_pages_newest_first_and_only_the_users_lines(ann, person, owner):
    ben = await person()
    for n in range(5):
        # Two at the same moment: a page must neither lose nor repeat one of them.
        await owner.execute(
            "insert into webhook_logs (user_id, webhook_type, status, triggered_at)"
            " values (%s, %s, 'completed', timestamptz '2026-03-01' + %s * interval '1 minute'),"
            " (%s, 'of another', 'completed', '2026-03-01')",
            (ann.user_id, f"event {n}", n // 2, ben.user_id),
        )
    seen, cursor = [], ""
    while cursor is not None:
        page = (await ann.gets(f"/api/me/audit?limit=2{cursor and '&cursor=' + cursor}")).json()
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next_cursor"]

    assert sorted(event["webhook_type"] for event in seen) == [f"event {n}" for n in range(5)]
    moments = [event["triggered_at"] for event in seen]
    assert moments == sorted(moments, reverse=True)
    assert len({event["id"] for event in seen}) == 5


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=nonsense", "cursor=W10", "cursor=%F0"])
async def test_a_page_that_is_none_is_refused(ann, query):
    response = await ann.gets(f"/api/me/audit?{query}")

    assert response.status_code == 422
    assert response.json()["errors"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/pipeline"),
        ("POST", "/admin/pipeline/retry"),
        ("POST", "/admin/refresh-views"),
        ("GET", "/admin/usage"),
    ],
)
async def test_only_operators_reach_what_is_theirs(ann, client, operator, method, path):
    assert (await client.request(method, path)).status_code == 401
    assert (await client.request(method, path, headers=ann.headers)).status_code == 403
    assert (await operator(method, path)).is_success


async def test_an_operator_reaches_no_users_route(operator):
    assert (await operator("GET", "/api/me/pipeline")).status_code == 403
    assert (await operator("GET", "/api/me/audit")).status_code == 403


async def test_an_operator_sees_depth_age_and_dead_letters(ann, operator, queued):
    await queued(ann.user_id)
    await queued(ann.user_id, given_up=True)

    told = (await operator("GET", "/admin/pipeline")).json()

    assert (told["depth"], told["failed"], told["held_jobs"]) == (1, 1, [])
    assert told["oldest_seconds"] > 86_400
    (letter,) = told["dead_letters"]
    assert (letter["user_id"], letter["attempts"], letter["error"]) == (str(ann.user_id), 8, "refused")


async def test_dead_letters_are_tried_again(ann, operator, queued):
    await queued(ann.user_id, given_up=True)

    assert (await operator("POST", "/admin/pipeline/retry")).json() == {"rows": 1, "jobs": 0}
    told = (await operator("GET", "/admin/pipeline")).json()
    assert (told["depth"], told["failed"]) == (1, 0)


async def test_views_are_refreshed_by_the_worker_inside(operator, owner, until_async):
    response = await operator("POST", "/admin/refresh-views")
    assert response.status_code == 202

    async def refreshed():
        found = await owner.execute("select count(*) from coach.system_log where webhook_type = 'view_refresh'")
        return (await found.fetchone())[0] >= 4

    await until_async(refreshed)


async def test_usage_is_listed_by_user_and_month(ann, person, operator, owner):
    ben = await person()
    for someone, used in ((ann, 3), (ben, 4)):
        await owner.execute(
            "insert into ai_quota_months (user_id, month, used) values (%s, '2026-03-01', %s)",
            (someone.user_id, used),
        )
        await owner.execute(
            "insert into ai_interactions (user_id, feature_type, quota_month, input_tokens, output_tokens)"
            " values (%s, 'goal_coaching', '2026-03-01', 100, 10)",
            (someone.user_id,),
        )
    first = (await operator("GET", "/admin/usage?month=2026-03&limit=1")).json()
    second = (await operator("GET", f"/admin/usage?month=2026-03&limit=1&cursor={first['next_cursor']}")).json()

    assert first["total"] == {"users": 2, "used": 7, "input_tokens": 200, "output_tokens": 20, "cost_usd": 0}
    assert {row["user_id"]: row["used"] for row in first["items"] + second["items"]} == {
        str(ann.user_id): 3,
        str(ben.user_id): 4,
    }
    assert second["next_cursor"] is None
    assert (await operator("GET", "/admin/usage?month=March")).status_code == 422


async def test_readiness_tells_how_long_the_queue_has_waited(client, ann, queued):
    await queued(ann.user_id)

    told = (await client.get("/health/ready")).json()

    assert told["status"] == "ready"
    assert told["queue_seconds"] > 86_400


async def test_metrics_count_turns_and_name_no_user(client, ann):
    before = figures(await client.get("/metrics"))
    await ann.asks("How is my knee?")
    await ann.asks("And my back?")
    told = await client.get("/metrics")
    after = figures(told)

    assert after['coach_turns_total{outcome="complete"}'] - before.get('coach_turns_total{outcome="complete"}', 0) == 2
    for name in ("coach_first_token_seconds_count", "coach_retrieval_seconds_count"):
        assert after[name] >= before.get(name, 0) + 2
    assert after['coach_tokens_total{direction="output"}'] > before.get('coach_tokens_total{direction="output"}', 0)
    for name in (
        'coach_embedding_queue_rows{state="waiting"}',
        'coach_embedding_queue_rows{state="failed"}',
        "coach_embedding_queue_oldest_seconds",
        "coach_embedder_pauses_total",
        "coach_jobs_held",
        'coach_database_connections{state="idle"}',
        "coach_turns_running",
    ):
        assert name in after
    assert str(ann.user_id) not in told.text


async def test_a_refusal_for_want_of_quota_is_counted(client, ann, owner):
    await owner.execute("insert into coach.ai_limits (user_id, monthly_limit) values (%s, 0)", (ann.user_id,))
    before = figures(await client.get("/metrics"))

    assert (await ann.asks("One more?")).status == 429

    after = figures(await client.get("/metrics"))
    assert after["coach_quota_refusals_total"] - before["coach_quota_refusals_total"] == 1


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
async def test_what_a_proxy_passes_on_needs_the_metrics_token(client, header):
    passed_on = {header: "127.0.0.1"}

    assert (await client.get("/metrics", headers=passed_on)).status_code == 403
    wrong = passed_on | {"authorization": "Bearer something-else"}
    assert (await client.get("/metrics", headers=wrong)).status_code == 401
    right = passed_on | {"authorization": f"Bearer {TOKEN}"}
    assert (await client.get("/metrics", headers=right)).status_code == 200


def figures(response: httpx.Response) -> dict[str, float]:
    assert response.status_code == 200
    lines = [line for line in response.text.splitlines() if line.startswith("coach_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def until_async():
    import asyncio

    async def wait(happened, seconds=20.0):
        async with asyncio.timeout(seconds):
            while True:
                if await happened():
                    return
                await asyncio.sleep(0.05)

    return wait


async def test_the_rate_counts_what_was_done_lately_whenever_it_was_changed(ann, operator, owner, until_async):
    await owner.execute("alter table tasks disable trigger user")  # the time of a change is nobody's to set
    await owner.execute(
        "insert into tasks (user_id, name, updated_at)"
        " select %s, 'Task ' || n, '2020-01-01' from generate_series(1, 40) n",
        (ann.user_id,),
    )
    await owner.execute("alter table tasks enable trigger user")
    await owner.execute(
        "insert into embedding_queue (user_id, entity_table, entity_id) select user_id, 'tasks', id from tasks"
        " where user_id = %s",
        (ann.user_id,),
    )

    async def done():
        return (await ann.gets("/api/me/pipeline")).json()["waiting"] == 0

    await until_async(done)

    assert (await operator("GET", "/admin/pipeline")).json()["rate_per_minute"] == 8
    (told,) = [
        event
        for event in (await ann.gets("/api/me/audit")).json()["items"]
        if event["webhook_type"] == "metadata_embedding_completed"
    ]
    assert (told["table_name"], told["row_count"]) == ("tasks", 40)
