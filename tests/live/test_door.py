"""Who gets in, what stands in every response, and what a stranger sees."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

USERS_ROUTES = ["/api/me/quota", "/api/search?q=knee", "/api/chat/c/stream"]


@pytest.mark.parametrize("path", USERS_ROUTES)
async def test_a_request_without_a_token_is_refused(client, path):
    response = await client.get(path)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="coach"'
    assert response.json()["type"] == "/problems/unauthenticated"


@pytest.mark.parametrize("path", USERS_ROUTES)
async def test_an_operator_gets_into_no_users_route(client, token_for, path):
    token = token_for(uuid4(), role="service_role")

    response = await client.get(path, headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 403
    assert response.json()["type"] == "/problems/forbidden"


async def test_an_expired_token_is_refused_saying_so(client, token_for):
    token = token_for(uuid4(), ttl=timedelta(minutes=-5))

    response = await client.get("/api/me/quota", headers={"authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert "expired" in response.json()["detail"]


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Basic YTpi", "Token x", "Bearer not.a.token", "Bearer " + "x" * 20_000, "Bearer é"],
)
async def test_a_header_that_is_no_bearer_token_is_refused(client, header):
    response = await client.get("/api/me/quota", headers={"authorization": header.encode()})

    assert response.status_code == 401
    assert response.headers["www-authenticate"].isascii()


async def test_the_scheme_may_be_written_in_any_case(ann, client):
    response = await client.get("/api/me/quota", headers={"authorization": f"bEARER {ann.token}"})

    assert response.status_code == 200


async def test_a_token_in_the_address_is_ignored(ann, client):
    response = await client.get(f"/api/me/quota?token={ann.token}&access_token={ann.token}")

    assert response.status_code == 401


async def test_a_good_token_of_someone_without_an_account_is_refused(client, token_for):
    token = token_for(uuid4())

    for path in USERS_ROUTES:
        response = await client.get(path, headers={"authorization": f"Bearer {token}"})
        assert response.status_code == 401
        assert "no account" in response.json()["detail"]


async def test_someone_with_an_account_but_no_profile_yet_gets_one(client, owner, token_for):
    user_id = uuid4()
    await owner.execute("insert into auth.users (id) values (%s)", (user_id,))

    response = await client.get("/api/me/quota", headers={"authorization": f"Bearer {token_for(user_id)}"})

    assert response.status_code == 200
    found = await owner.execute("select timezone from user_profiles where id = %s", (user_id,))
    assert await found.fetchone() == ("UTC",)


async def test_a_request_id_is_taken_echoed_and_named_in_problems(client):
    response = await client.get("/api/me/quota", headers={"x-request-id": "trace-1"})

    assert response.headers["x-request-id"] == "trace-1"
    assert response.json()["instance"] == "trace-1"


@pytest.mark.parametrize("offered", [b"", b"a b", b"x" * 129, b"\xff", b'a"b', b"{}"])
async def test_a_request_id_that_could_spoil_a_log_is_replaced(client, offered):
    response = await client.get("/health/live", headers={"x-request-id": offered})

    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/me/quota", "/nowhere", "/schema"])
async def test_every_answer_carries_the_security_headers(client, path):
    headers = (await client.get(path)).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/api/nowhere", 404, "not-found"),
        ("GET", "/static/..%2f..%2fsettings.py", 404, "not-found"),
        ("GET", "/static/nothing.js", 404, "not-found"),
        ("GET", f"/static/{'x' * 300}", 404, "not-found"),
        ("GET", "/static/app.js%00", 404, "not-found"),
        ("GET", "/static/%ff", 404, "not-found"),
        ("GET", f"/problems/{'x' * 5000}", 404, "not-found"),
        ("GET", f"/schema/{'x' * 300}", 404, "not-found"),
        ("GET", f"/{'x' * 60_000}", 404, "not-found"),
        ("GET", "/problems/nothing", 404, "not-found"),
        ("DELETE", "/api/chat", 405, "method-not-allowed"),
        ("POST", "/health/live", 405, "method-not-allowed"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(client, method, path, status, slug):
    response = await client.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == f"/problems/{slug}"


@pytest.mark.parametrize(
    "spelling",
    [
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/metrics%2f",
        "/%2fmetrics",
        "/./metrics",
        "/health/../metrics",
        "/Metrics",
    ],
)
async def test_metrics_have_one_spelling(coach_url, client, spelling):
    """A proxy that denies ``/metrics`` would let the others through."""
    assert (await client.get("/metrics?x=1")).status_code == 200
    assert await status_of(coach_url, f"GET {spelling} HTTP/1.1") == 404


async def test_a_request_with_a_fragment_is_refused(coach_url):
    assert await status_of(coach_url, "GET /metrics#x HTTP/1.1") == 400


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("POST /ws/chat HTTP/1.1", ["content-length: 0"]),
        ("POST /ws/chat HTTP/1.1", ["transfer-encoding: chunked"]),
        (f"GET /ws/chat?{'x' * 9_000} HTTP/1.1", []),
        ("GET /ws/chat HTTP/1.1", [f"sec-websocket-protocol: {'x' * 9_000}"]),
        ("GET /ws/chat HTTP/1.1", ["sec-websocket-version: 99"]),
        ("GET /nowhere HTTP/1.1", ["sec-websocket-version: 13"]),
    ],
)
async def test_an_upgrade_that_cannot_be_is_refused_and_not_kept_waiting(coach_url, line, headers):
    upgrade = ["upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]
    assert await status_of(coach_url, line, *upgrade, *headers, connection="upgrade") in {400, 403, 405, 426}


async def status_of(coach_url: str, line: str, *headers: str, connection: str = "close") -> int:
    """For what a client library would put right."""
    host, port = coach_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = "\r\n".join([line, f"host: {host}", f"connection: {connection}", *headers, "", ""])
    writer.write(head.encode("latin-1"))
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return int(answer.split()[1])


async def test_a_refused_method_names_the_allowed_ones(client):
    assert "POST" in (await client.delete("/api/chat")).headers["allow"]
    assert "GET" in (await client.post("/health/live")).headers["allow"]


async def test_health_answers_without_a_token_and_gives_nothing_away(client):
    assert (await client.get("/health/live")).json() == {"status": "live"}
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
    assert (await client.head("/health/ready")).status_code == 200


@pytest.mark.parametrize("table", ["coach.migrations", "coach.functions"])
async def test_a_server_whose_database_lacks_a_file_is_not_ready(client, owner, table):
    """As where the database was restored from an older back-up."""
    await owner.execute(f"create table kept as table {table}".encode())
    try:
        await owner.execute(f"delete from {table} where name in (select min(name) from {table})".encode())

        response = await client.get("/health/ready")

        assert (response.status_code, response.json()["detail"]) == (503, "Not ready.")
    finally:
        await owner.execute(f"truncate {table}; insert into {table} table kept; drop table kept".encode())
    assert (await client.get("/health/ready")).status_code == 200


async def test_a_page_can_learn_what_there_is_before_anyone_signs_in(client):
    found = (await client.get("/api/config")).json()

    assert len(found["features"]) == 8
    assert found["models"][0] == "offline"
    assert found["limits"]["message_characters"] == 32_000


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("", "q"),
        ("q=", "q"),
        ("q=%20", "q"),
        ("q=" + "x" * 2_001, "q"),
        ("q=%ff", "query"),
        ("q=a%00b", "query"),
        ("q=a&limit=0", "limit"),
        ("q=a&limit=201", "limit"),
        ("q=a&limit=many", "limit"),
        ("q=a&domain=moods", "domain"),
    ],
)
async def test_a_search_that_is_not_as_documented_is_refused(ann, query, path):
    response = await ann.gets(f"/api/search?{query}")

    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == path


async def test_a_search_finds_what_was_said_and_only_the_searchers_own(person):
    ann, ben = await person(), await person()
    await ann.asks("The physio in Kreuzberg is called Dr. Okafor.", id="physio", message_id="m1")

    found = (await ann.gets("/api/search?q=physio+Okafor")).json()
    other = (await ben.gets("/api/search?q=physio+Okafor")).json()

    assert any("Okafor" in item["snippet"] for item in found["items"])
    assert found["items"][0]["conversation_id"] == "physio"
    assert set(found["context"]) >= {"used", "withheld", "stale", "retrieval_ms"}
    assert other["items"] == []


async def test_a_search_for_the_very_words_of_a_message_finds_it_and_a_turn_does_not(ann):
    words = "Who is my physio in Kreuzberg?"
    await ann.asks(words)

    found = (await ann.gets(f"/api/search?q={words}")).json()
    again = await ann.asks(words)

    assert words in {item["snippet"] for item in found["items"]}
    sources = [
        part["providerMetadata"]["coach"]["snippet"] for part in again.parts if part["type"] == "source-document"
    ]
    assert words not in sources


async def test_a_search_within_one_domain_finds_nothing_of_another(ann):
    await ann.asks("The physio in Kreuzberg is called Dr. Okafor.")

    assert (await ann.gets("/api/search?q=physio&domain=task")).json()["items"] == []
    assert (await ann.gets("/api/search?q=physio&domain=conversation")).json()["items"]


async def test_the_quota_counts_what_was_asked(ann):
    before = (await ann.gets("/api/me/quota")).json()
    await ann.asks("Hello")
    after = (await ann.gets("/api/me/quota")).json()

    assert (before["used"], after["used"]) == (0, 1)
    assert after["remaining"] == after["limit"] - 1
    assert after["resets_at"].endswith("-01T00:00:00Z")


async def test_answers_with_user_data_are_not_cached_and_headers_are_not_repeated(ann, client):
    assert (await ann.gets("/api/me/quota")).headers.get_list("cache-control") == ["no-store"]
    assert (await client.get("/static/app.js")).headers.get_list("cache-control") == ["no-cache"]
