"""Errors as problem details: every one that the tree knows, and no word too many."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient

from coach import errors
from coach.errors import (
    CoachError,
    DatabaseUnavailable,
    FieldError,
    InvalidInput,
    Misconfigured,
    ModelUnavailable,
    QuotaExhausted,
    RateLimited,
    Unauthenticated,
)
from coach.http.catalogue import KINDS
from coach.http.edge import Edge
from coach.http.problems import HANDLERS


async def raised(error: Exception, **headers: str):
    @get("/")
    async def broken() -> None:
        raise error

    app = Litestar([broken], exception_handlers=HANDLERS, logging_config=None)
    app.asgi_handler = Edge(app.asgi_handler)
    async with AsyncTestClient(app) as client:
        return await client.get("/", headers={"x-request-id": "r-1"} | headers)


def all_errors(kind=CoachError):
    return {kind} | {found for below in kind.__subclasses__() for found in all_errors(below)}


def test_every_error_has_a_documented_slug_and_every_status_fits():
    for kind in all_errors():
        assert kind.slug in KINDS
    assert {kind.status for kind in KINDS.values()} <= {400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503}


def test_the_tree_in_the_docstring_names_every_class():
    for kind in all_errors():
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in errors.__doc__


async def test_a_problem_has_the_five_members_and_its_media_type():
    response = await raised(errors.NotFound("No such thing."))

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "/problems/not-found",
        "title": "There is no such thing",
        "status": 404,
        "detail": "No such thing.",
        "instance": "r-1",
    }


async def test_each_wrong_field_is_listed():
    response = await raised(InvalidInput("a.b", "is wrong.", FieldError("c[0]", "too.")))

    assert response.status_code == 422
    assert response.json()["errors"] == [{"path": "a.b", "message": "is wrong."}, {"path": "c[0]", "message": "too."}]


async def test_an_exhausted_quota_tells_the_numbers_and_not_to_retry():
    resets_at = datetime.now(UTC) + timedelta(hours=2)

    response = await raised(QuotaExhausted(limit=250, used=250, resets_at=resets_at))

    assert response.status_code == 429
    assert response.headers["x-should-retry"] == "false"
    assert 7_190 <= int(response.headers["retry-after"]) <= 7_200
    body = response.json()
    assert (body["type"], body["limit"], body["used"]) == ("/problems/quota-exhausted", 250, 250)
    assert datetime.fromisoformat(body["resets_at"]) == resets_at


@pytest.mark.parametrize(("seconds", "told"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (60, "60")])
async def test_too_fast_tells_when_to_come_back(seconds, told):
    response = await raised(RateLimited(seconds, per_minute=60))

    assert response.status_code == 429
    assert response.headers["retry-after"] == told
    assert response.headers["ratelimit-limit"] == "60"
    assert response.headers["ratelimit-remaining"] == "0"
    assert response.headers["ratelimit-reset"] == told


async def test_a_challenge_names_an_error_only_where_a_token_was_sent():
    assert (await raised(Unauthenticated())).headers["www-authenticate"] == 'Bearer realm="coach"'


@pytest.mark.parametrize("error", [ModelUnavailable("Down."), DatabaseUnavailable("Down.")])
async def test_what_is_away_may_be_tried_again(error):
    response = await raised(error)

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "error", [RuntimeError("secret-7"), Misconfigured("secret-7"), CoachError("secret-7"), ValueError("secret-7")]
)
async def test_the_unexpected_gives_nothing_away_but_its_id(error):
    response = await raised(error)

    assert response.status_code == 500
    assert response.json()["type"] == "/problems/internal-error"
    assert response.json()["instance"] == "r-1"
    assert "secret-7" not in response.text
    assert "x-content-type-options" in response.headers


async def test_a_detail_cannot_break_out_of_its_header():
    response = await raised(Unauthenticated('a "quoted"\r\nx-evil: 1'), authorization="Bearer x")

    assert response.headers["www-authenticate"].endswith("error_description=\"a 'quoted'''x-evil: 1\"")
    assert "x-evil" not in response.headers


def test_titles_and_advice_are_sentences():
    for kind in KINDS.values():
        assert json.dumps(kind.title).isascii()
        assert kind.advice.endswith(".")


def test_the_guide_documents_every_problem_with_its_status():
    guide = (Path(__file__).parents[3] / "docs" / "api.md").read_text()

    for kind in KINDS.values():
        assert f"| `{kind.slug}` | {kind.status} |" in guide
