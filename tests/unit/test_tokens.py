"""Tokens that hold, and every way in which one does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from coach.errors import Forbidden, Refused, Unauthenticated
from coach.identity.principal import Principal
from coach.identity.tokens import MAX_TOKEN, Verifier, mint

SECRET = "a secret that is long enough for anyone"
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class Published:
    """Two keys, known by id."""

    async def key(self, kid, algorithm):
        assert algorithm in {"RS256", "ES256"}
        known = {("r", "RS256"): RSA_KEY.public_key(), ("e", "ES256"): EC_KEY.public_key()}
        if (kid, algorithm) not in known:
            raise Unauthenticated("The token is signed with an unknown key.")
        return known[kid, algorithm]

    async def aclose(self):
        return


def verifier(**options):
    return Verifier(**({"secret": SECRET, "keys": Published(), "audience": "authenticated"} | options))


def claims(**changes):
    found = {"sub": str(uuid4()), "role": "authenticated", "aud": "authenticated", "exp": time.time() + 60} | changes
    return {name: value for name, value in found.items() if value is not None}


def signed(payload, header=None, key=None):
    """A token put together by hand, since PyJWT refuses to make most of these."""
    parts = [
        json.dumps(header or {"alg": "HS256", "typ": "JWT"}),
        payload if isinstance(payload, str) else json.dumps(payload),
    ]
    body = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    mac = hmac.new(key or SECRET.encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


async def test_a_minted_token_names_its_user():
    user_id = uuid4()

    principal = await verifier().verify(mint(SECRET, sub=user_id, ttl=timedelta(hours=1), is_anonymous=True))

    assert principal.user_id == user_id
    assert principal.role == "authenticated"
    assert principal.is_anonymous
    assert abs(principal.expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=5)


@pytest.mark.parametrize(("algorithm", "kid", "key"), [("RS256", "r", RSA_KEY), ("ES256", "e", EC_KEY)])
async def test_published_keys_and_the_shared_secret_serve_side_by_side(algorithm, kid, key):
    token = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid})

    assert (await verifier().verify(token)).role == "authenticated"
    assert (await verifier().verify(jwt.encode(claims(), SECRET))).role == "authenticated"


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "HS512", "PS256", "EdDSA", "", None, 7, ["HS256"]])
async def test_an_algorithm_that_is_not_on_the_list_is_refused(algorithm):
    with pytest.raises(Unauthenticated):
        await verifier().verify(signed(claims(), {"alg": algorithm, "kid": "r"}))


async def test_a_token_without_a_signature_is_refused():
    with pytest.raises(Unauthenticated):
        await verifier().verify(jwt.encode(claims(), None, algorithm="none"))


async def test_a_public_key_is_no_secret():
    """The classic confusion: HS256 over the PEM of the published RSA key."""
    for options in ({"secret": None}, {}):
        with pytest.raises(Unauthenticated):
            await verifier(**options).verify(signed(claims(), {"alg": "HS256", "kid": "r"}, RSA_PEM))


@pytest.mark.parametrize(
    ("algorithm", "kid", "key"), [("RS256", "e", RSA_KEY), ("ES256", "r", EC_KEY), ("RS256", None, RSA_KEY)]
)
async def test_a_key_accepts_its_own_algorithm_only(algorithm, kid, key):
    with pytest.raises(Unauthenticated):
        await verifier().verify(jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": kid} if kid else {}))


async def test_without_a_shared_secret_hs256_is_refused_and_without_keys_the_others():
    with pytest.raises(Unauthenticated):
        await verifier(secret=None).verify(signed(claims()))
    with pytest.raises(Unauthenticated):
        await verifier(keys=None).verify(jwt.encode(claims(), RSA_KEY, algorithm="RS256", headers={"kid": "r"}))


async def test_a_token_signed_with_another_secret_is_refused():
    with pytest.raises(Unauthenticated, match="signature"):
        await verifier().verify(mint(SECRET + "!", sub=uuid4()))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": time.time() - 60}, "expired"),
        ({"exp": None}, "lacks"),
        ({"exp": "soon"}, "cannot be read"),
        ({"exp": [1]}, "cannot be read"),
        ({"nbf": time.time() + 3_600}, "not valid yet"),
        ({"iat": time.time() + 3_600}, "not valid yet"),
        ({"aud": "someone-else"}, "audience"),
        ({"aud": None}, "lacks"),
        ({"aud": 5}, "audience"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "ann"}, "sub"),
        ({"sub": "{" + str(uuid4()) + "}"}, "sub"),
        ({"sub": uuid4().hex}, "sub"),
        ({"sub": 7}, "cannot be read"),
    ],
)
async def test_a_claim_that_does_not_hold_is_named(changes, reason):
    with pytest.raises(Unauthenticated, match=reason):
        await verifier().verify(signed(claims(**changes)))


@pytest.mark.parametrize("payload", ["[]", "7", "null", "not json", '{"exp": 1e999, "sub": "x"}', "[" * 3_000])
async def test_a_payload_that_is_no_object_is_refused(payload):
    with pytest.raises(Refused):
        await verifier().verify(signed(payload))


async def test_clocks_may_differ_by_a_few_seconds():
    assert await verifier().verify(signed(claims(exp=time.time() - 5)))
    assert await verifier().verify(signed(claims(nbf=time.time() + 5)))


async def test_a_token_that_never_expires_still_has_a_moment():
    assert (await verifier().verify(signed(claims(exp=10**15)))).expires_at.year == 9999


async def test_the_issuer_counts_where_one_is_configured():
    strict = verifier(issuer="https://auth.example")

    assert await strict.verify(signed(claims(iss="https://auth.example")))
    for issuer in ("https://evil.example", None, ""):
        with pytest.raises(Unauthenticated):
            await strict.verify(signed(claims(iss=issuer)))


@pytest.mark.parametrize("role", ["anon", "postgres", "", None, ["authenticated"], {"a": 1}])
async def test_another_role_reaches_nothing(role):
    with pytest.raises(Forbidden):
        await verifier().verify(signed(claims(role=role)))


async def test_an_operator_needs_no_user():
    principal = await verifier().verify(mint(SECRET, sub=None, role="service_role"))

    assert principal.role == "service_role"
    assert principal.user_id is None


@pytest.mark.parametrize("issuer", ["supabase", "https://id.example"])
async def test_a_service_key_without_audience_is_an_operators_where_the_issuer_is_known(issuer):
    key = signed({"iss": issuer, "ref": "abcdefgh", "role": "service_role", "iat": 1, "exp": 4_000_000_000})
    strict = Verifier(secret=SECRET, audience="authenticated", issuer="https://id.example")

    assert (await strict.verify(key)).role == "service_role"
    with pytest.raises(Unauthenticated, match="lacks a claim"):
        await verifier().verify(key)


@pytest.mark.parametrize(
    "other", [{"role": "authenticated"}, {"role": "anon"}, {"iss": "https://evil.example"}, {"iss": None}, {"exp": 1}]
)
async def test_no_other_token_goes_without_audience(other):
    told = {"iss": "supabase", "role": "service_role", "sub": str(uuid4()), "exp": 4_000_000_000} | other
    strict = Verifier(secret=SECRET, audience="authenticated", issuer="https://id.example")

    with pytest.raises(Unauthenticated):
        await strict.verify(signed({name: value for name, value in told.items() if value is not None}))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a.b.c", "ey", "é", "\0", "x" * (MAX_TOKEN + 1), "e30.e30.e30"]
)
async def test_what_is_no_token_is_refused(token):
    with pytest.raises(Unauthenticated):
        await verifier().verify(token)


@given(st.text(max_size=200))
async def test_no_text_at_all_breaks_it(text):
    with pytest.raises(Unauthenticated):
        await verifier().verify(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=4,
    ),
    st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "role", "is_anonymous", "jti"]),
)
async def test_no_claim_breaks_it(value, name):
    """Signed by us, so it gets as far as it can: either a principal or a refusal."""
    try:
        assert isinstance(await verifier().verify(signed(claims() | {name: value})), Principal)
    except Refused:
        return


async def test_a_refusal_repeats_nothing_of_the_token():
    token = mint(SECRET, sub=uuid4(), ttl=timedelta(seconds=-60))
    with pytest.raises(Unauthenticated) as refusal:
        await verifier().verify(token)
    assert not any(part in str(refusal.value) for part in token.split("."))
    assert SECRET not in repr(verifier())
