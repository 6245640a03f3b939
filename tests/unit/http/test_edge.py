"""CORS: browsers of the allowed origins may ask, no others."""

from __future__ import annotations

import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient

from coach.http.edge import Edge

APP = "https://app.example"


@get("/")
async def hello() -> str:
    return "hello"


@pytest.fixture
async def client():
    app = Litestar([hello], logging_config=None)
    app.asgi_handler = Edge(app.asgi_handler, [APP])
    async with AsyncTestClient(app) as client:
        yield client


async def preflight(client, origin, headers="authorization"):
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": headers}
    return await client.options("/anything", headers=asked)


async def test_an_allowed_origin_may_ask_with_the_documented_headers(client):
    wanted = "authorization, content-type, idempotency-key, if-match, x-request-id, x-conversation-id, x-stainless-lang"
    wanted += ", user-agent, openai-beta, openai-organization, openai-project"

    response = await preflight(client, APP, wanted)

    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == APP
    assert response.headers["access-control-allow-headers"] == wanted
    assert "POST" in response.headers["access-control-allow-methods"]


async def test_headers_that_are_not_documented_are_not_granted(client):
    response = await preflight(client, APP, "Authorization, x-evil, X-Stainless-OS, cookie")

    assert response.headers["access-control-allow-headers"] == "authorization, x-stainless-os"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.evil", "http://app.example", ""]
)
async def test_another_origin_gets_no_cors_headers(client, origin):
    for response in (await preflight(client, origin), await client.get("/", headers={"origin": origin})):
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["vary"] == "Origin"


async def test_an_answer_shows_the_documented_headers_to_its_origin(client):
    response = await client.get("/", headers={"origin": APP})

    assert response.headers["access-control-allow-origin"] == APP
    assert response.headers["access-control-expose-headers"] == "x-request-id, retry-after, etag"
    assert "access-control-allow-credentials" not in response.headers


async def test_without_configured_origins_nothing_is_said_about_them():
    app = Litestar([hello], logging_config=None)
    app.asgi_handler = Edge(app.asgi_handler)
    async with AsyncTestClient(app) as client:
        response = await client.get("/", headers={"origin": APP})

    assert not [name for name in response.headers if name.startswith("access-control")]
