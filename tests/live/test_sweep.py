"""Schemathesis makes up requests from the API's description, right ones and wrong ones.

None is answered with a 5xx, and each as the description says.

``make sweep`` sends 2,000 of them, other ones each time; the suite sends a few, always the same.
"""

from __future__ import annotations

import asyncio
import os
import re

import httpx
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coach.settings import load_settings
from tests.live.conftest import SECRET
from tests.live.test_every_route import coach_url, described, one_of_everything, operations_of  # noqa: F401

EXAMPLES = int(os.environ.get("SWEEP_EXAMPLES", "0"))
FEW = 200


@pytest.fixture(scope="module")
def coach_settings(database_url, worker_url):
    """Whose limits do not end the sweep."""
    limits = {"monthly_limit": 10**6}
    return load_settings(database_url=database_url, worker_database_url=worker_url, jwt_secret=SECRET, **limits)


def requests_to(schema, operation, ids):
    """What the description allows and what it does not; half of it about rows that are there."""
    from schemathesis import GenerationMode

    made, names = schema[operation.path][operation.method], re.findall(r"\{(\w+)\}", operation.path)
    is_breakable = operation.body or any(each["in"] == "query" for each in operation.told.get("parameters", ()))
    return st.one_of(
        made.as_strategy(mode, **known)
        for mode in (GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if is_breakable else []))
        for known in ({}, *([{"path_parameters": {name: ids[name] for name in names}}] if names else []))
    )


def swept(schema, world, operation, examples):
    """How many requests were sent."""
    sent = 0

    @settings(max_examples=examples, derandomize=not EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(requests_to(schema, operation, world.ids))
    def sweep(case):
        nonlocal sent
        sent += 1
        answer = case.call(session=session, headers=world.headers(operation), timeout=60)
        assert answer.status_code < 500, f"{case.as_curl_command()}: {answer.text}"
        media_type = {"content-type": "".join(answer.headers.get("content-type", ()))}
        operation.check(httpx.Response(answer.status_code, headers=media_type, content=answer.content))

    with requests.Session() as session:
        sweep()
    return sent


async def test_no_request_that_can_be_made_up_is_answered_with_a_5xx_or_as_nobody_said(
    person, owner, token_for, coach_url, described  # noqa: F811
):  # fmt: skip
    import schemathesis

    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=coach_url)
    operations, sent = operations_of(described), {}
    for operation in operations:
        world = await one_of_everything(await person(), owner, token_for)
        share = max(1, (EXAMPLES or FEW) // len(operations)) + 1
        sent[str(operation)] = await asyncio.to_thread(swept, schema, world, operation, share)
    print(f"Schemathesis: {sum(sent.values())} requests to {len(sent)} operations, 0 x 5xx")

    assert all(sent.values()), sent
