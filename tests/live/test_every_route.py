"""The API's description against the running server, for every route there is: a new one has to declare itself."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator
from litestar.routes import ASGIRoute, HTTPRoute

from coach.app import run_app
from coach.http.catalogue import KINDS
from coach.http.limits import CHAT_BODY, OTHER_BODY
from coach.identity.rate import RateLimiter
from coach.public.pages import DOCUMENTS
from coach.settings import load_settings
from tests.live.conftest import SECRET, serving

SCHEMA = "/schema"
PUBLIC = {"/api/config", "/health/live", "/health/ready", "/metrics"}
"""What needs no token. The description reads it off the guards, so that a forgotten guard would agree with itself."""

ODD = [
    "-" * 33,
    "- " * 33,
    "x" * 300,
    "a\0b",
    "%ff",
    "%",
    "../../etc/passwd",
    "..%2f..",
    "\u202e\ufffe",
    "9" * 40,
    "1e999",
    "'\"&|!():*<->\\",
    "{}[]",
]
"""What stands in a query or in a path where something else is expected."""

METHODS = ("get", "post", "patch", "put", "delete")
"""What reads before what changes, and what deletes last."""


@dataclass(frozen=True)
class Operation:
    """One route of the description, and how to call it with what it says of itself."""

    method: str
    path: str
    told: dict[str, Any]
    components: dict[str, Any]

    def __str__(self):
        return f"{self.method.upper()} {self.path}"

    @property
    def body(self):
        return self.told.get("requestBody", {}).get("content", {}).get("application/json")

    @property
    def query(self):
        return {
            each["name"]: next(iter(each["examples"].values()))["value"]
            for each in self.told.get("parameters", ())
            if each["in"] == "query" and each["required"]
        }

    @property
    def is_public(self):
        return self.told.get("security") == []

    def address(self, ids):
        return re.sub(r"\{(\w+)\}", lambda named: ids.get(named[1], "absent"), self.path)

    def check(self, response):
        """The answer is one of those that are described, and of its shape."""
        status, text = str(response.status_code), response.text
        told = self.told["responses"].get(status)
        assert told is not None, f"{self}: {status} is not described: {text}"
        if response.status_code >= 400:
            assert self.slug_of(response) in told["x-problems"], f"{self}: {text}"
        if "content" not in told:
            assert response.content == b"", self
            return
        media_type = response.headers["content-type"].partition(";")[0]
        sent = response.json() if media_type.endswith("json") else text
        self.valid(sent, told["content"][media_type]["schema"])

    def slug_of(self, response):
        """Under ``/v1`` a refusal has no type: then the status has to do, and every problem of it fits."""
        if response.headers["content-type"] == "application/problem+json":
            return response.json()["type"].removeprefix("/problems/")
        assert response.json()["error"]["message"]
        return self.told["responses"][str(response.status_code)]["x-problems"][0]

    def valid(self, value, shape):
        errors = list(Draft202012Validator(shape | {"components": self.components}).iter_errors(value))
        assert not errors, f"{self}: {errors[0].json_path} {errors[0].message}"


def operations_of(described):
    found = [
        Operation(method, path, told, described["components"])
        for path, operations in described["paths"].items()
        for method, told in operations.items()
    ]
    return sorted(found, key=lambda each: METHODS.index(each.method))


@pytest.fixture(scope="module")
def coach_settings(database_url, worker_url):
    """With a worker's login, which operators' routes need."""
    return load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET)


@pytest.fixture(scope="module")
def coach_url(coach_settings):
    """Without a worker, which might change what a test looks at."""
    with serving(coach_settings, embeds=False, rate=RateLimiter(10**6, 10**6)) as url:
        yield url


@pytest.fixture(scope="module")
def described(coach_url):
    return httpx.get(f"{coach_url}/schema/openapi.json").json()


@pytest.fixture
def operations(described):
    return operations_of(described)


@dataclass
class World:
    """Somebody who has one of everything; ``ids`` are by the names of path parameters."""

    person: Any
    operator_token: str
    ids: dict[str, str]

    async def call(self, operation, ids=None, headers=None, **options):
        path = operation.address(self.ids if ids is None else ids)
        return await self.person.client.request(
            operation.method,
            path,
            params=operation.query,
            headers=self.headers(operation) | (headers or {}),
            **options,
        )

    def headers(self, operation):
        token = self.operator_token if operation.path.startswith("/admin") else self.person.token
        sent = {} if operation.is_public else {"authorization": f"Bearer {token}"}
        return {"accept": "application/json"} | sent


@pytest.fixture
async def world(ann, owner, token_for):
    return await one_of_everything(ann, owner, token_for)


async def one_of_everything(ann, owner, token_for):
    asked = await ann.asks(
        "My knee hurts when I run.", id="c1", message_id="m1", session={"type": "start", "kind": "grow"}
    )
    stored = await ann.client.post("/v1/responses", json={"model": "coach", "input": "Hi."}, headers=ann.headers)
    nudge, commitment = uuid4(), uuid4()
    await owner.execute(
        "insert into nudges (user_id, id, kind, body) values (%s, %s, 'streak', 'Keep on.')",
        (ann.user_id, nudge),
    )
    await owner.execute(
        "insert into commitments (user_id, id, title, status) values (%s, %s, 'Book the MRI', 'proposed')",
        (ann.user_id, commitment),
    )
    memory = (await ann.gets("/api/memory")).json()["items"][0]
    ids = {
        "conversation_id": "c1",
        "message_id": asked.first("start")["messageId"],
        "session_id": (await ann.gets("/api/sessions")).json()["items"][0]["id"],
        "commitment_id": str(commitment),
        "nudge_id": str(nudge),
        "source": memory["source"],
        "memory_id": memory["id"],
        "response_id": stored.json()["id"],
        "model": "coach/task",
    }
    return World(ann, token_for(None, role="service_role"), ids)


@pytest.fixture
async def routes(coach_settings):
    async with run_app(coach_settings, embeds=False) as running:
        return running.asgi.routes


def test_every_route_of_the_app_is_declared_and_described(routes, described):
    paths = described["paths"]
    for route in routes:
        if isinstance(route, ASGIRoute):
            assert route.path == "/ws/chat"
            continue
        assert isinstance(route, HTTPRoute)
        if route.path_format in DOCUMENTS or route.path_format.startswith(SCHEMA):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if method == "OPTIONS":
                continue
            assert "declared" in handler.opt, f"{method} {route.path_format} declares nothing: **declares(…)"
            declared = handler.opt["declared"]
            told = paths[route.path_format.format_map(Named(declared.address))][method.lower()]
            assert ("requestBody" in told) == (declared.body is not None)
            for error in declared.problems:
                assert error.slug in slugs_of(told), f"{method} {route.path_format}: {error.__name__}"


class Named(dict):
    """What is not in it stays a parameter."""

    def __missing__(self, name):
        return f"{{{name}}}"


def slugs_of(told):
    return set(itertools.chain.from_iterable(answer.get("x-problems", ()) for answer in told["responses"].values()))


def test_each_has_a_summary_an_example_of_its_body_and_problems_of_the_catalogue(operations):
    for operation in operations:
        assert operation.told["summary"], operation
        assert slugs_of(operation.told) <= set(KINDS), operation
        refused = "application/json" if operation.path.startswith("/v1/") else "application/problem+json"
        assert refused in operation.told["responses"]["default"]["content"], operation
        if "requestBody" in operation.told:
            operation.valid(operation.body["example"], operation.body["schema"])


async def test_each_takes_its_own_example_and_answers_as_it_says(world, operations):
    for operation in operations:
        response = await world.call(operation, **({"json": operation.body["example"]} if operation.body else {}))
        operation.check(response)
        assert response.is_success or (response.status_code == 409), f"{operation}: {response.text}"


async def test_what_is_not_there_is_refused_as_described(world, operations):
    for operation in operations:
        if "{" in operation.path:
            options = {"json": operation.body["example"]} if operation.body else {}
            operation.check(await world.call(operation, ids={}, **options))


async def test_after_an_account_is_deleted_its_token_writes_nothing(world, operations, owner):
    """By another server, or in SQL: this one remembers for ten minutes that there was an account."""
    await owner.execute("delete from auth.users where id = %s", (world.person.user_id,))

    refused = set()
    for operation in operations:
        if operation.is_public or operation.path.startswith("/admin"):
            continue
        response = await world.call(operation, **({"json": operation.body["example"]} if operation.body else {}))
        operation.check(response)
        if response.status_code == 401:
            refused.add(str(operation))
        else:
            assert response.status_code == 404 or operation.method == "get" or operation.path.endswith("/stop")

    assert refused == {
        "POST /api/chat",
        "POST /api/conversations/import",
        "POST /api/ws-ticket",
        "POST /v1/chat/completions",
        "POST /v1/responses",
        "PATCH /api/me/preferences",
    }


@pytest.mark.parametrize("value", ODD, ids=lambda value: value[:12])
async def test_odd_values_in_an_address_break_nothing(world, operations, value):
    for operation in operations:
        names = [each["name"] for each in operation.told.get("parameters", ()) if each["in"] == "query"]
        odd = [({}, {name: value}) for name in names]
        if "{" in operation.path:
            odd.append(({name: quote(value, safe="%") for name in world.ids}, {}))
        for ids, query in odd:
            response = await world.person.client.request(
                operation.method,
                operation.address(world.ids | ids),
                params=operation.query | query,
                headers=world.headers(operation),
                **({"json": operation.body["example"]} if operation.body else {}),
            )
            assert response.status_code < 500, f"{operation} {ids or query}: {response.text}"


async def test_without_a_token_only_public_routes_answer(world, operations):
    assert {operation.path for operation in operations if operation.is_public} == PUBLIC
    for operation in operations:
        response = await world.person.client.request(operation.method, operation.address(world.ids), content=b"")
        operation.check(response)
        assert operation.is_public or response.status_code == 401, operation


@pytest.mark.parametrize(
    ("body", "media_type", "slug"),
    [
        (b"[", "application/json", "invalid-input"),
        (b'"\xff"', "application/json", "invalid-input"),
        (b'{"nobody_asked_for": 1}', "application/json", "invalid-input"),
        (b"a=b", "application/x-www-form-urlencoded", "unsupported-media-type"),
        ("too much", "application/json", "too-large"),
    ],
)
async def test_bodies_are_refused_alike_everywhere(world, operations, body, media_type, slug):
    for operation in operations:
        if operation.body is None:
            continue
        if body == "too much" and operation.path.endswith("/import"):
            continue  # its limit is larger and its body streamed: tests/live/conversations/test_import.py
        is_chat = operation.path == "/api/chat" or operation.path.startswith("/v1/")
        sent = b" " * ((CHAT_BODY if is_chat else OTHER_BODY) + 1) if body == "too much" else body
        response = await world.call(operation, content=sent, headers={"content-type": media_type})
        operation.check(response)
        status = KINDS[slug].status
        assert response.status_code == (400 if status == 422 and operation.path.startswith("/v1/") else status), (
            operation
        )
