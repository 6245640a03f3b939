"""The API's description: complete, true to the examples, and readable without the internet."""

from __future__ import annotations

import json
import re
from pathlib import PurePath

import pytest

from coach.chat.examples import FINISHED_TURN, REQUEST, STREAM
from coach.http.catalogue import KINDS
from coach.public import openapi
from coach.public.pages import DOCUMENTS, TYPES
from tests.live.conftest import parts_of


@pytest.fixture
async def described(client):
    return (await client.get("/schema/openapi.json")).json()


def body_of(described, path, method="post"):
    """The schema of a request's body, with its name followed."""
    shape = described["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    return described["components"]["schemas"][shape["$ref"].rpartition("/")[2]]


async def test_the_chat_describes_its_stream_and_its_body(described):
    chat = described["paths"]["/api/chat"]["post"]

    assert set(chat["responses"]["200"]["content"]) == {"text/event-stream", "application/json"}
    assert "[DONE]" in chat["responses"]["200"]["content"]["text/event-stream"]["example"]
    assert "messages" in body_of(described, "/api/chat")["properties"]


async def test_openais_routes_describe_their_bodies_and_both_forms_of_an_answer(described):
    for path, body in (("/v1/chat/completions", "messages"), ("/v1/responses", "input")):
        described_call = described["paths"][path]["post"]
        assert set(described_call["responses"]["200"]["content"]) == {"text/event-stream", "application/json"}
        assert body in body_of(described, path)["properties"]


async def test_all_references_lead_somewhere(described):
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)):
        assert name in described["components"]["schemas"]


async def test_what_needs_no_token_says_so(described):
    assert described["paths"]["/health/live"]["get"]["security"] == []
    assert "security" not in described["paths"]["/api/me/quota"]["get"]
    assert described["security"] == [{"bearer": []}]


async def test_the_examples_are_what_the_server_says(ann):
    """The same kinds of parts and the same members, or the description lies."""
    await ann.asks("My knee hurts when I run.", id="before")
    told = await ann.client.post("/api/chat", json=REQUEST, headers=ann.headers)
    example, real = parts_of(STREAM), parts_of(told.text)
    for part in example:
        twin = next(found for found in real if found["type"] == part["type"])
        assert set(twin) == set(part)
        for member in ("messageMetadata", "data"):
            assert set(twin.get(member, ())) == set(part.get(member, ()))

    as_json = ann.headers | {"accept": "application/json"}
    whole = (await ann.client.post("/api/chat", json=REQUEST, headers=as_json)).json()
    assert set(whole) == set(FINISHED_TURN)
    assert set(whole["message"]["metadata"]) == set(FINISHED_TURN["message"]["metadata"])


async def test_what_a_chat_may_want_of_a_session_and_what_becomes_of_a_commitment_is_described(described):
    command = body_of(described, "/api/chat")["properties"]["session"]["anyOf"][0]
    fields = described["components"]["schemas"]["CommitmentChange"]["properties"]

    assert set(command["properties"]["kind"]["anyOf"][0]["enum"]) == {"grow", "daily_checkin", "weekly_review", "free"}
    assert set(fields) == {"title", "due_date", "project_id"}


async def test_a_change_of_preferences_is_described_with_its_limits(ann, described):
    fields = described["components"]["schemas"]["PreferencesChange"]["properties"]
    told = (await ann.gets("/api/me/preferences")).json()

    assert set(fields) == set(told) - {"updated_at"}
    assert (fields["data_retention_days"]["minimum"], fields["data_retention_days"]["maximum"]) == (90, 365)
    assert (fields["anonymize_after_days"]["minimum"], fields["anonymize_after_days"]["maximum"]) == (30, 365)
    assert all(re.fullmatch(fields[name]["pattern"], told[name]) for name in ("quiet_from", "quiet_until"))


@pytest.mark.parametrize("path", ["/", "/schema", "/problems", *(f"/problems/{slug}" for slug in KINDS)])
async def test_pages_fetch_nothing_from_elsewhere_and_run_nothing_inline(client, path):
    response = await client.get(path)

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r'(src|href)="(https?:)?//', response.text)
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", response.text)


@pytest.mark.parametrize("path", [*DOCUMENTS, "/schema", "/schema/openapi.json"])
async def test_what_does_not_change_is_made_once_and_known_by_its_tag(client, path):
    first, second = await client.get(path), await client.get(path)
    tag = first.headers["etag"]

    assert first.content == second.content
    assert first.headers["content-type"].startswith(
        {**TYPES, ".json": "application/"}.get(PurePath(path).suffix, "text/html")
    )
    assert second.headers["etag"] == tag
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await client.get(path, headers={"if-none-match": '"other"'})).content == first.content


@pytest.mark.parametrize("address", ["", "/openapi.json"])
async def test_the_description_is_not_generated_again(client, address, monkeypatch):
    await client.get(f"/schema{address}")

    def generates(*_):
        raise AssertionError

    monkeypatch.setattr(openapi, "complete", generates)
    assert (await client.get(f"/schema{address}")).status_code == 200
