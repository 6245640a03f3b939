"""Who may pass when not all can."""

from __future__ import annotations

import asyncio

import pytest

from coach.values.fair import FairGate


async def passes(gate: FairGate, key: str, seen: list[str]) -> None:
    async with gate.passing(key):
        seen.append(key)
        await asyncio.sleep(0)


async def test_who_wants_much_waits_for_all_who_want_little() -> None:
    gate, seen = FairGate(1), list[str]()
    async with gate.passing("first"):
        much = [asyncio.create_task(passes(gate, "much", seen)) for _ in range(50)]
        await asyncio.sleep(0)
        little = [asyncio.create_task(passes(gate, key, seen)) for key in ("ann", "bob")]
        await asyncio.sleep(0)
        assert (len(gate), gate.waiting("much")) == (52, 50)
    await asyncio.gather(*much, *little)

    assert max(seen.index("ann"), seen.index("bob")) <= 2
    assert len(gate) == 0


async def test_two_who_want_much_are_let_in_by_turns() -> None:
    gate, seen = FairGate(1), list[str]()
    async with gate.passing("first"):
        tasks = [asyncio.create_task(passes(gate, key, seen)) for key in ["ann"] * 5 + ["bob"] * 5]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert seen == ["ann", "bob"] * 5


async def test_what_is_over_counts_against_nobody() -> None:
    gate, seen = FairGate(1), list[str]()
    for keys in (["ann"], ["ann", "bob"]):
        async with gate.passing("first"):
            tasks = [asyncio.create_task(passes(gate, key, seen)) for key in keys]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    assert seen == ["ann", "ann", "bob"]


async def test_who_gives_up_or_is_cut_off_keeps_no_place() -> None:
    gate = FairGate(1)
    async with gate.passing("first"):
        with pytest.raises(TimeoutError):
            await gate.enter("hasty", within=0.01)
        cut_off = asyncio.create_task(gate.enter("cut off"))
        await asyncio.sleep(0)
        cut_off.cancel()
        late = asyncio.create_task(gate.enter("late"))
        await asyncio.sleep(0)
    late.cancel()  # it has just been given the place

    await asyncio.wait([cut_off, late])
    async with asyncio.timeout(1), gate.passing("next"):
        assert len(gate) == 0
