"""Peers whose network is gone: they neither close nor answer a ping, and are cut off in the time that is documented."""

from __future__ import annotations

import asyncio
import re
from time import monotonic

from coach.testing.stub_script import Answer
from tests.live.sockets.conftest import text_of
from tests.live.sockets.cutting import FreezingProxy
from tests.live.sockets.test_limits import deaf, read, status_of

PROMISED = 40.0
BUSY = 2.0
"""What a busy machine may add."""


async def open_sockets(person):
    told = (await person.client.get("/metrics")).text
    return int(float(re.search(r"^coach_sockets (\S+)", told, re.MULTILINE)[1]))


async def until_cut(carrier):
    """Seconds until the server has hung up on somebody who sends nothing."""
    began = monotonic()
    while await read(carrier):
        pass
    return monotonic() - began


async def test_only_a_client_without_pongs_is_closed_within_40_seconds(person, opens, coach_url, stub, owner):
    ann, ben, mute = await person(), await person(), await person()
    stub.always(Answer(tokens=100, rate=50))
    before = await open_sockets(ann)
    lively = await opens(ben)
    carrier = await deaf(coach_url, mute.token, b'{"type":"abort","requestId":"r1"}')
    async with FreezingProxy(coach_url) as network:
        wire = await opens(ann, url=network.url)
        await wire.asks("r1")
        await wire.until(lambda f: f["type"] == "chunk" and f["chunk"]["type"] == "text-delta")
        assert await open_sockets(ann) == before + 3
        network.freeze()

        async with asyncio.timeout(PROMISED + 10):
            silent_for, _ = await asyncio.gather(until_cut(carrier), network.hung_up.wait())

    assert 20.0 < silent_for < PROMISED + BUSY
    assert 19.0 < network.cut_after < PROMISED + BUSY
    assert await open_sockets(ann) == before + 1
    await lively.asks("r2")
    assert text_of((await lively.answer("r2"))["r2"]) == "".join(Answer(tokens=100).pieces)
    assert await status_of(owner, ann) == ["complete"], "the turn went on without its reader"
    carrier.close()
