"""Who gets in at ``/ws/chat``: pages of which origin, with which proof, and how long it holds."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from coach.identity.rate import RateLimiter
from coach.identity.tokens import mint
from coach.settings import load_settings
from tests.live.conftest import SECRET, serving
from tests.live.sockets.conftest import problem_of

ALLOWED = "https://app.example"


@pytest.fixture(scope="module")
def coach_settings(database_url, provider):
    return load_settings(
        database_url=database_url, jwt_secret=SECRET, allowed_origins=ALLOWED, embedding_model="wordllama"
    )


HOSTILE = [
    "null",
    "https://app.example.evil.test",
    "https://evil-app.example",
    "https://app.example:8443",
    "http://app.example",
    "https://app.example@evil.test",
    "https://user@app.example",
    "HTTPS://APP.EXAMPLE",
    "https://xn--pp-xka.example",
    "https://app.example/",
    "https://app.example.",
    "https://app.example, https://app.example",
    "file://",
    "ws://{host}",
    "http://{host}.evil.test",
    "http://{name}",
    "http://{name}:1",
    "http://evil.test",
    "",
]


@pytest.mark.parametrize("origin", HOSTILE)
async def test_a_foreign_origin_is_refused_before_accept(ann, opens, coach_url, origin):
    host = coach_url.removeprefix("http://")
    hostile = origin.format(host=host, name=host.partition(":")[0])

    with pytest.raises(InvalidStatus) as refused:
        await opens(ann, additional_headers={"origin": hostile})

    assert refused.value.response.status_code == 403


async def test_of_two_origins_neither_counts(ann, opens):
    with pytest.raises(InvalidStatus):
        await opens(ann, additional_headers=[("origin", ALLOWED), ("origin", ALLOWED)])


@pytest.mark.parametrize("origin", [ALLOWED, "{own}", None])
async def test_an_allowed_page_our_own_and_no_page_at_all_are_let_in(ann, opens, coach_url, origin):
    headers = {} if origin is None else {"origin": origin.format(own=coach_url)}

    wire = await opens(ann, additional_headers=headers)

    await wire.sends(type="resume", requestId="r1", id="c1")
    assert (await wire.answer("r1"))["r1"][0]["type"] == "no-active"


async def test_a_refused_origin_uses_up_no_ticket(ann, opens):
    ticket = await ticket_of(ann)
    with pytest.raises(InvalidStatus):
        await opens(ticket=ticket, additional_headers={"origin": "https://evil.test"})

    wire = await opens(ticket=ticket)

    await wire.sends(type="resume", requestId="r1", id="c1")
    assert (await wire.answer("r1"))["r1"][0]["type"] == "no-active"


async def test_only_the_protocol_is_echoed_and_never_the_token(ann, opens):
    assert (await opens(ann, subprotocols=["coach.v1", ann.token])).socket.subprotocol == "coach.v1"
    assert (await opens(ann, subprotocols=[ann.token, "coach.v1"])).socket.subprotocol == "coach.v1"
    assert (await opens(ticket=await ticket_of(ann), subprotocols=["coach.v1"])).socket.subprotocol == "coach.v1"


@pytest.mark.parametrize(
    ("protocols", "said"),
    [
        (None, "ws-ticket"),
        (["coach.v1"], "ws-ticket"),
        (["{token}"], "ws-ticket"),
        (["coach.v2", "{token}"], "ws-ticket"),
        (["coach.v1", "nonsense"], "cannot be read"),
        (["coach.v1", "{expired}"], "expired"),
        (["coach.v1", "{forged}"], "signature"),
        (["coach.v1", "{operator}"], "operator"),
        (["coach.v1", "{stranger}"], "no account"),
    ],
)
async def test_a_bad_token_is_accepted_and_closed_with_the_reason(ann, opens, token_for, protocols, said):
    tokens = {
        "token": ann.token,
        "expired": token_for(ann.user_id, ttl=timedelta(minutes=-5)),
        "forged": mint("another secret of the same length or so!", sub=ann.user_id),
        "operator": token_for(None, role="service_role"),
        "stranger": token_for(type(ann.user_id)(int=7)),
    }
    offered = None if protocols is None else [each.format(**tokens) for each in protocols]

    code, reason = await (await opens(subprotocols=offered)).closed()

    assert code == 1008
    assert said in reason


async def ticket_of(person):
    response = await person.client.post("/api/ws-ticket", headers=person.headers)
    assert response.status_code == 200
    return response.json()["ticket"]


async def test_a_ticket_opens_one_socket_once(ann, opens):
    ticket = await ticket_of(ann)

    wires = await asyncio.gather(*(opens(ticket=ticket) for _ in range(8)))

    codes = await asyncio.gather(*(closed_or_open(wire) for wire in wires))
    assert sorted(codes) == [0, *[1008] * 7]


async def closed_or_open(wire):
    """Its close code, or 0 where it answers."""
    try:
        await wire.sends(type="resume", requestId="r1", id="c1")
        await wire.answer("r1")
    except ConnectionClosed as gone:
        return gone.rcvd.code
    return 0


async def test_a_ticket_expires_after_a_minute_and_stands_hashed_in_the_database(ann, opens, owner):
    ticket = await ticket_of(ann)
    rows = await (await owner.execute("select * from socket_tickets where user_id = %s", (ann.user_id,))).fetchall()
    assert ticket not in str(rows)
    assert ticket.encode() not in rows[0][1]
    late = "update socket_tickets set expires_at = expires_at - interval '60 seconds' where user_id = %s"
    await owner.execute(late, (ann.user_id,))

    code, reason = await (await opens(ticket=ticket)).closed()

    assert (code, reason) == (1008, "The ticket was used already, or has expired; get a new one.")
    await ticket_of(ann)
    left = await owner.execute("select count(*) from socket_tickets where user_id = %s", (ann.user_id,))
    assert await left.fetchone() == (1,), "what was not used goes with the next"


@pytest.mark.parametrize("ticket", ["", "x", "A" * 53, "A" * 54, "é", "A" * 5_000, "%00", "' or 1=1 --"])
async def test_what_is_no_ticket_opens_nothing(opens, ticket):
    code, _ = await (await opens(ticket=ticket.replace("é", "%C3%A9").replace(" ", "%20"))).closed()

    assert code == 1008


async def test_a_ticket_cannot_be_changed_into_another_users(person, opens):
    ann, ben = await person(), await person()
    hers, his = await ticket_of(ann), await ticket_of(ben)
    mixed = his[:20] + hers[20:]

    assert (await (await opens(ticket=mixed)).closed())[0] == 1008


async def test_a_ticket_is_for_those_who_are_signed_in(client, token_for):
    assert (await client.post("/api/ws-ticket")).status_code == 401
    operator = {"authorization": f"Bearer {token_for(None, role='service_role')}"}
    assert (await client.post("/api/ws-ticket", headers=operator)).status_code == 403


@pytest.mark.parametrize("way", ["token", "ticket"])
async def test_a_token_that_expires_closes_what_it_opened(ann, opens, token_for, way):
    ann.token = token_for(ann.user_id, ttl=timedelta(seconds=2))
    wire = await opens(ann) if way == "token" else await opens(ticket=await ticket_of(ann))

    code, reason = await wire.closed()

    assert (code, reason) == (1008, "The token has expired; sign in again.")


async def test_the_twenty_first_socket_of_a_user_is_refused(person, opens):
    ann, ben = await person(), await person()
    wires = [await opens(ann) for _ in range(20)]

    assert (await (await opens(ann)).closed())[0] == 1013
    await wires[0].socket.close()
    for wire in (wires[1], await opens(ben)):
        await wire.sends(type="resume", requestId="r1", id="c1")
        assert (await wire.answer("r1"))["r1"][0]["type"] == "no-active"
    for _ in range(200):
        wire = await opens(ann)
        if await closed_or_open(wire) == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("a closed socket still counts")


async def test_a_message_for_a_foreign_conversation_answers_as_if_it_were_absent(person, opens):
    ann, ben = await person(), await person()
    hers = await opens(ann)
    await hers.asks("r1", "My secret is blue.", id="hers", message_id="m1")
    await hers.answer("r1")

    his = await opens(ben)
    await his.asks("r1", "What is it?", id="hers", message_id="m1")
    frames = (await his.answer("r1"))["r1"]

    assert frames[-1]["type"] == "end"
    assert "blue" not in str(frames)


async def test_frames_that_come_too_fast_close_the_socket(ann, opens):
    wire = await opens(ann)
    for place in range(300):
        try:
            await wire.sends(type="abort", requestId=f"r{place}")
        except ConnectionClosed:
            break

    assert await wire.closed() == (1013, "Frames come too fast.")


@pytest.fixture(scope="module")
def strict_url(coach_settings):
    """A server that grants 300 requests at once like any, and then so few that no machine is slow enough for them."""
    with serving(coach_settings, rate=RateLimiter(per_minute=6)) as url:
        yield url


async def uses_up(url, person):
    async with httpx.AsyncClient(base_url=url, headers=person.headers) as client:
        granted = 0
        while (await client.get("/api/me/quota")).status_code == 200:
            granted += 1
    return granted


async def test_requests_are_as_many_as_over_http(ann, opens, strict_url):
    """The bucket of HTTP (300 at once) is the socket's too; frames alone have a bucket of their own."""
    assert await uses_up(strict_url, ann) >= 300
    wire = await opens(ann, url=strict_url)

    code, _ = await wire.closed()

    assert code == 1013


async def test_a_used_up_rate_refuses_the_request_and_not_the_socket(ann, opens, strict_url):
    wire = await opens(ann, url=strict_url)
    await uses_up(strict_url, ann)

    for place in range(5):
        await wire.sends(type="resume", requestId=f"r{place}", id="c1")
    answers = await wire.answer(*(f"r{place}" for place in range(5)))

    refused = [frames[0] for frames in answers.values() if frames[0]["type"] == "error"]
    assert refused
    assert problem_of(refused[0])["type"] == "/problems/rate-limited"
