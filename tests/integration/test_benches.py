"""The benches of the pipeline at their smallest: that they run, and count what they say they count."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from coach.bench import burst, edits, follow, imports, pipeline, rows, sockets, strangers, streams, vector
from coach.commands.bench import encode

# Each has bounds of its own; that of sockets that never read took 82 s on a quarter of a core.
pytestmark = pytest.mark.timeout(600)


async def test_edits_are_followed_through_a_real_server_until_stored_and_found() -> None:
    result = await edits.run(edits.SMOKE)

    assert result.edits == edits.SMOKE.edits
    assert 0 < result.stored.p50 <= result.stored.p95 <= result.stored.longest
    assert result.found.p50 >= result.stored.p50, "the search finds by what is stored"
    assert "found by /api/search" in edits.table(result)
    assert json.loads(encode(result))["found"]["p95"] == result.found.p95


async def test_a_missed_goal_is_reported() -> None:
    slow = edits.Spread(1.9, 2.1, 3.0)
    result = edits.Result(edits=500, stored=edits.Spread(1.0, 1.5, 2.0), found=slow, stale=0)

    assert "MISSED" in edits.table(result)


async def test_an_import_leaves_one_queue_row_a_row_and_none_without_the_trigger() -> None:
    result = await imports.run(imports.SMOKE)

    assert result.queue_rows == imports.SMOKE.rows
    assert result.plain > 0
    assert result.triggered > 0
    assert f"{imports.SMOKE.rows} queue rows" in imports.table(result)
    assert json.loads(encode(result))["rows"] == imports.SMOKE.rows


async def test_an_import_that_queues_something_else_ends_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the trigger where it should be with it: what it adds would come out as nothing."""
    monkeypatch.setattr(imports._sql, "with_trigger", imports._sql.without_trigger)

    with pytest.raises(RuntimeError, match="0 queue rows"):
        await imports.run(imports.SMOKE)


async def test_the_pipeline_is_measured_against_one_call_a_row() -> None:
    result = await pipeline.run(pipeline.SMOKE)

    assert result.rows == pipeline.SMOKE.rows
    assert result.calls <= 4
    assert result.one_worker > result.one_by_one
    assert "one call a row" in pipeline.table(result)
    assert json.loads(encode(result))["calls"] == result.calls


async def test_a_server_is_asked_until_the_long_entries_are_embedded() -> None:
    result = await rows.run(rows.SMOKE)

    assert result.entries == rows.SMOKE.entries + 1
    assert result.pieces >= rows.SMOKE.entries * rows.SMOKE.bytes // 900
    assert result.asked > 0
    assert 0 < result.p50 <= result.p99 <= result.slowest
    assert "/health/live" in rows.table(result)
    assert json.loads(encode(result))["slowest"] == result.slowest
    assert "MISSED" in rows.table(msgspec.structs.replace(result, slowest=0.251))
    assert "met" in rows.table(msgspec.structs.replace(result, slowest=0.25))


async def test_sockets_are_opened_and_others_are_answered_beside_those_that_never_read() -> None:
    result = await sockets.run(sockets.SMOKE)

    assert (result.idle, result.deaf) == (sockets.SMOKE.idle, sockets.SMOKE.deaf)
    assert result.dropped == sockets.SMOKE.deaf
    assert result.answered == 2 * sockets.SMOKE.others * sockets.SMOKE.rounds
    assert 0 < result.others_p50 <= result.others_p99
    assert "never read" in sockets.table(result)
    assert json.loads(encode(result))["idle_kib"] == result.idle_kib


async def test_200_mib_of_strangers_cost_a_server_no_memory_to_speak_of() -> None:
    result = await strangers.run(strangers.SMOKE)

    assert result.size.mib == 200
    assert {way.name for way in result.ways} == {*strangers.WAYS, "nothing"}
    assert [way for way in result.ways if way.mib > strangers.GOAL_MIB] == []
    assert "MISSED" not in strangers.table(result)


async def test_streams_are_counted_until_a_number_does_not_hold() -> None:
    affinity = os.sched_getaffinity(0)

    result = await streams.run(streams.SMOKE)

    (step,) = result.steps
    assert (step.streams, step.errors) == (4, 0)
    assert 0.9 < step.median <= step.p99
    assert "the most that held" in streams.table(result)
    assert json.loads(streams.as_json(result))["most"] == result.most
    assert os.sched_getaffinity(0) == affinity, "the core is given back"


async def test_a_burst_of_many_users_is_answered_whole_and_one_of_one_user_as_far_as_it_may() -> None:
    result = await burst.run(burst.SMOKE)

    many, one = result.bursts
    assert (many.whole, many.refused, many.broken) == (4, 0, 0)
    assert (one.whole + one.refused, one.broken) == (12, 0)
    assert one.whole >= 8  # a slow host ends some before others begin
    assert 0 < one.p50 <= one.p99
    assert "beside one user" in burst.table(result)
    assert json.loads(encode(result))["bursts"][1]["refused"] == one.refused
    assert not msgspec.structs.replace(one, p99=251.0).holds
    assert not msgspec.structs.replace(many, broken=1).holds


def test_a_number_of_streams_with_an_error_or_too_late_does_not_hold() -> None:
    good = streams.Step(streams=100, ideal=10.0, median=1.0, p99=1.1, errors=0, core=0.3)
    late = streams.Step(streams=200, ideal=10.0, median=1.0, p99=1.11, errors=0, core=0.6)
    broken = streams.Step(streams=300, ideal=10.0, median=1.0, p99=1.0, errors=1, core=0.9)

    assert streams.Result(20.0, [good, late, broken]).most == 100


async def test_answers_are_followed_through_a_second_server_process() -> None:
    result = await follow.run(follow.SMOKE)

    assert (result.turns, result.same) == (follow.SMOKE.turns, follow.SMOKE.turns)
    assert 0 < result.deltas <= follow.SMOKE.turns * follow.SMOKE.tokens
    assert 0 < result.p50 <= result.p95 <= result.longest
    assert "another server process" in follow.table(result)
    assert json.loads(encode(result))["p95"] == result.p95


def test_a_delta_is_late_until_its_last_character_is_there() -> None:
    here = heard((1.0, "one "), (2.0, "two "), (3.0, "three "))
    there = heard((1.5, "one t"), (2.25, "wo thr"), (3.75, "ee "))

    assert follow.latencies(here, there) == [250.0, 750.0], "the first was told before the second reader came"
    assert here.whole == there.whole


def heard(*deltas: tuple[float, str]) -> follow.Heard:
    parts = [{"type": "text-delta", "id": "t", "delta": text} for _, text in deltas]
    return follow.Heard([at for at, _ in deltas], parts)


def test_a_reader_with_other_parts_misses_the_goal() -> None:
    met = follow.Result(turns=2, same=2, deltas=100, p50=300.0, p95=800.0, longest=900.0)

    assert "met" in follow.table(met)
    for missed in (msgspec.structs.replace(met, same=1), msgspec.structs.replace(met, p95=800.1)):
        assert "MISSED" in follow.table(missed)


async def test_the_search_is_compared_with_the_plain_query_over_the_same_rows() -> None:
    result = await vector.run(vector.Size(rows=460, measured=(60,), others=200, questions=3, rounds=1))

    assert [compared.questions for compared in result.compared] == ["on-topic", "off-topic"]
    assert all(compared.recall == 1.0 for compared in result.compared)
    assert "less CPU" in vector.table(result)
