"""Published keys: rotation, outages and answers that are none, against a real server."""

from __future__ import annotations

import asyncio
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from coach.errors import Unauthenticated, Unavailable
from coach.identity.jwks import ASK_AGAIN_AFTER, FRESH_FOR, MAX_BYTES, JwksKeys

RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(private, kid, **more):
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return algorithm.to_jwk(private.public_key(), as_dict=True) | {"kid": kid} | more


class Publisher:
    """A key server that answers what it is told, and counts."""

    def __init__(self):
        self.body, self.status, self.delay, self.asked = b"", 200, 0.0, 0

    def publish(self, *keys):
        self.body = json.dumps({"keys": keys}).encode()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/jwks"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await asyncio.sleep(self.delay)
        head = f"HTTP/1.1 {self.status} X\r\nconnection: close\r\nlocation: {self.url}\r\n\r\n"
        writer.write(head.encode() + self.body)
        writer.close()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def publisher():
    async with Publisher() as publisher:
        publisher.publish(jwk(RSA_KEY, "r"), jwk(EC_KEY, "e"))
        yield publisher


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def keys(publisher, clock):
    keys = JwksKeys(publisher.url, clock=clock)
    yield keys
    await keys.aclose()


async def test_keys_are_fetched_once_and_kept(keys, publisher, clock):
    for _ in range(5):
        assert await keys.key("r", "RS256")
        clock.now += FRESH_FOR / 6
    assert publisher.asked == 1


async def test_after_ten_minutes_they_are_fetched_again_and_withdrawn_ones_forgotten(keys, publisher, clock):
    assert await keys.key("r", "RS256")
    publisher.publish(jwk(EC_KEY, "e"))
    clock.now += FRESH_FOR + 1

    await refreshed(keys, "r")
    with pytest.raises(Unauthenticated):
        await keys.key("r", "RS256")
    assert publisher.asked == 2


async def refreshed(keys, kid):
    """It is asked for beside the requests: nobody waits whose key is known."""
    assert await keys.key(kid, "RS256")
    await asyncio.wait([keys._fetching])


async def test_a_slow_answer_keeps_nobody_waiting_whose_key_is_known(keys, publisher, clock):
    assert await keys.key("r", "RS256")
    publisher.delay = 600
    clock.now += FRESH_FOR + 1

    async with asyncio.timeout(30):
        for _ in range(20):
            assert await keys.key("r", "RS256")
    assert keys._fetching is not None, "the answer is still awaited"


@pytest.mark.parametrize("published", [[], [jwk(RSA_KEY, "r", use="enc")], ["not a key"]])
async def test_an_answer_without_a_usable_key_takes_none_away(keys, publisher, clock, published):
    assert await keys.key("r", "RS256")
    publisher.publish(*published)
    clock.now += FRESH_FOR + 1

    await refreshed(keys, "r")
    assert await keys.key("r", "RS256")
    with pytest.raises(Unauthenticated):
        await keys.key("made-up", "RS256")


async def test_an_outage_refuses_no_token_whose_key_is_known(keys, publisher, clock):
    assert await keys.key("r", "RS256")
    publisher.status = 500
    clock.now += FRESH_FOR * 10

    await refreshed(keys, "r")
    for _ in range(20):
        assert await keys.key("r", "RS256")
    assert publisher.asked == 2


async def test_a_new_key_is_found_at_once_and_made_up_ids_cost_one_fetch_in_thirty_seconds(keys, publisher, clock):
    assert await keys.key("r", "RS256")
    clock.now += ASK_AGAIN_AFTER + 1
    publisher.publish(jwk(RSA_KEY, "r"), jwk(EC_KEY, "new"))
    assert await keys.key("new", "ES256")

    for guess in range(50):
        with pytest.raises(Unauthenticated):
            await keys.key(f"made-up-{guess}", "RS256")
    assert publisher.asked == 2


async def test_many_that_come_at_once_ask_once(keys, publisher):
    publisher.delay = 0.05

    found = await asyncio.gather(*(keys.key("e", "ES256") for _ in range(50)))

    assert len(found) == 50
    assert publisher.asked == 1


async def test_one_that_gives_up_does_not_take_the_others_along(keys, publisher):
    publisher.delay = 0.05
    first, second = (asyncio.create_task(keys.key("e", "ES256")) for _ in range(2))
    await asyncio.sleep(0.01)

    first.cancel()

    assert await second
    assert publisher.asked == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": 7}', b'{"keys": []', b"[" * 100_000, b" " * (MAX_BYTES + 1)],
)
async def test_an_answer_that_is_no_key_set_is_an_outage(keys, publisher, body):
    publisher.body = body

    with pytest.raises(Unavailable):
        await keys.key("r", "RS256")


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_an_error_is_an_outage_and_redirects_are_not_followed(keys, publisher, status):
    publisher.status = status

    with pytest.raises(Unavailable):
        await keys.key("r", "RS256")
    assert publisher.asked == 1


async def test_an_empty_key_set_is_an_answer(keys, publisher):
    publisher.publish()

    with pytest.raises(Unauthenticated):
        await keys.key("r", "RS256")


@pytest.mark.parametrize(
    "spoiled",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "r", "alg": "HS256"},
        {"kty": "RSA", "kid": "r"},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "r"},
        {"kty": "EC", "crv": "P-384", "kid": "r"},
        {"kty": 7, "kid": "r"},
        {"kty": ["RSA"], "kid": "r"},
        "not a key",
        jwk(RSA_KEY, "r", use="enc"),
        jwk(RSA_KEY, "r", alg="HS256"),
        jwk(RSA_KEY, "r", alg="RS512"),
    ],
)
async def test_a_key_that_is_not_for_us_is_left_out_and_spoils_no_other(keys, publisher, spoiled):
    publisher.publish(spoiled, jwk(EC_KEY, "e"))

    assert await keys.key("e", "ES256")
    with pytest.raises(Unauthenticated):
        await keys.key("r", "RS256")


async def test_a_token_without_an_id_means_the_only_fitting_key(keys, publisher, clock):
    assert await keys.key(None, "RS256")

    publisher.publish(jwk(RSA_KEY, "a"), jwk(RSA_KEY, "b"))
    clock.now += FRESH_FOR + 1
    await refreshed(keys, None)
    with pytest.raises(Unauthenticated):
        await keys.key(None, "RS256")
