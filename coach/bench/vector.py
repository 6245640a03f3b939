"""``coach bench vector``: our search against the plain query over the same rows, and against numpy.

Both run interleaved on the same server, each in a backend of its own whose CPU time the kernel counts. Ours runs as the
server runs it, under row level security; the plain one as the owner, without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from statistics import mean, median
from time import perf_counter, process_time
from uuid import UUID

import msgspec
import numpy as np
from msgspec import Struct
from pgvector.utils import Vector as PlainVector

from coach.bench.contender import Contender, Cost
from coach.bench.vector_data import MODEL, BenchUser, make_tables, people, sentence, store
from coach.bench.vector_space import Space
from coach.database.opening import Urls
from coach.database.pool import Database, Transaction
from coach.database.queries import load
from coach.retrieval.base import Vector, halfvec
from coach.testing.scratch import scratch

_sql, _retrieval = load("bench"), load("retrieval")
TOP = 10


class Size(Struct, frozen=True):
    """How many rows there are in all, of the users that are measured, and how often each question is asked."""

    rows: int = 150_000
    measured: tuple[int, ...] = (500, 10_000)
    others: int = 2_000
    questions: int = 40
    rounds: int = 8


SMOKE = Size(rows=6_000, measured=(500, 2_000), others=500, questions=6, rounds=2)


class Compared(Struct, frozen=True):
    """One user, one kind of question."""

    rows: int
    questions: str
    ours: Cost
    plain: Cost
    numpy: Cost
    hybrid: Cost
    recall: float

    @property
    def less_cpu(self) -> float:
        return _ratio(self.plain, self.ours)


def _ratio(one: Cost, other: Cost) -> float:
    """Of their CPU time; without bound where the other took less than the clock shows."""
    return one.cpu_ms / other.cpu_ms if other.cpu_ms else float("inf")


class Result(Struct, frozen=True):
    total_rows: int
    compared: list[Compared]


async def run(size: Size, progress: Callable[[str], None] = lambda line: None) -> Result:
    """Fill a database of its own, ask, and take it away again."""
    async with scratch("coach-bench-") as place:
        urls = place.services.urls
        dice = np.random.default_rng(20)
        space = Space(48, dice)
        measured = await _fill(urls, space, size, dice, progress)
        compared = []
        for person in measured:
            for kind in ("on-topic", "off-topic"):
                questions = space.about(dice.choice(_topics(person, space, kind), size.questions))
                compared.append(await _compare(urls, person, questions, kind, size.rounds))
                progress(f"{len(person.texts):,} rows asked {kind}")
    return Result(size.rows, compared)


async def _fill(
    urls: Urls, space: Space, size: Size, dice: np.random.Generator, progress: Callable[[str], None]
) -> list[BenchUser]:
    others = [size.others] * ((size.rows - sum(size.measured)) // size.others)
    measured = []
    async with connected(urls.owner or urls.server) as owner:
        async with owner.as_login_role() as tx:
            await make_tables(tx)
        for number, person in enumerate(people(space, [*size.measured, *others], dice)):
            async with owner.as_login_role() as tx:
                await store(tx, person)
            if number < len(size.measured):
                measured.append(person)
            if number % 10 == 0:
                progress(f"user {number + 1} of {len(size.measured) + len(others)} stored")
        await _vacuum(owner)
    return measured


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Database]:
    database = Database(url, max_size=2)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def _vacuum(owner: Database) -> None:
    """What autovacuum does within a minute: statistics, and the visibility map that index-only scans need."""
    async with owner.as_login_role() as tx:
        await tx.commit()
        await tx.execute("vacuum analyze")


async def _compare(urls: Urls, person: BenchUser, questions: Vector, kind: str, rounds: int) -> Compared:
    """Ours and the plain one in turn, question by question, each with the processor's caches as the other leaves them;
    then the whole statement, whose own would be counted to them.
    """
    async with (
        connected(urls.owner or urls.server) as owner,
        connected(urls.server) as server,
        owner.as_login_role() as one,
        server.as_user(person.user_id) as two,
        server.as_user(person.user_id) as three,
    ):
        plain = await Contender.of(one, partial(_ask_plain, person.user_id))
        ours = await Contender.of(two, partial(_ask_ours, person.user_id))
        hybrid = await Contender.of(three, partial(_ask_hybrid, person.user_id, sentence(np.random.default_rng(0), 6)))
        exact, found = await plain.warm_up(questions), await ours.warm_up(questions)
        await hybrid.warm_up(questions)
        for _ in range(rounds):
            for question in questions:
                await plain.take(question)
                await ours.take(question)
            for question in questions:
                await hybrid.take(question)
        return Compared(
            rows=len(person.texts),
            questions=kind,
            ours=ours.cost(),
            plain=plain.cost(),
            numpy=_numpy(person.vectors, questions, rounds),
            hybrid=hybrid.cost(),
            recall=mean(len(set(a) & set(b)) / TOP for a, b in zip(exact, found, strict=True)),
        )


def _topics(person: BenchUser, space: Space, kind: str) -> list[int]:
    """Topics of the user's own rows, or topics of other users' rows only."""
    return [topic for topic in range(space.topics) if (topic in person.topics) is (kind == "on-topic")]


async def _ask_ours(user_id: UUID, tx: Transaction, question: Vector) -> list[str]:
    rows = await _sql.nearest.rows(tx, tuple, user_id=user_id, embedding=halfvec(question), model=MODEL, limit=TOP)
    return [text for text, _ in rows]


async def _ask_plain(user_id: UUID, tx: Transaction, question: Vector) -> list[str]:
    vector = PlainVector(question)  # type: ignore[no-untyped-call]
    return [text for text, _ in await _sql.plain_nearest.rows(tx, tuple, user_id=user_id, embedding=vector)]


async def _ask_hybrid(user_id: UUID, words: str, tx: Transaction, question: Vector) -> list[str]:
    """The whole statement of a turn: words, fusion and neighbours too."""
    rows = await _retrieval.combined_context.rows(
        tx,
        tuple,
        user_id=user_id,
        question=words,
        embedding=halfvec(question),
        model=MODEL,
        domains=None,
        limit=TOP,
        exclude=[],
        echo=None,
    )
    return [row[3] for row in rows]


def _numpy(rows: Vector, questions: Vector, rounds: int) -> Cost:
    """The product of a float32 matrix in memory with the question, and its ten largest."""
    walls = []
    cpu = process_time()
    for _ in range(rounds):
        for question in questions:
            began = perf_counter()
            np.argpartition(rows @ question, -TOP)[-TOP:]
            walls.append(perf_counter() - began)
    return Cost(1e3 * (process_time() - cpu) / len(walls), 1e3 * median(walls))


def table(result: Result) -> str:
    head = (
        f"one user among {result.total_rows:,} rows      CPU ms: ours  plain  numpy  hybrid"
        "    wall ms: ours  plain  hybrid   less CPU  x numpy  recall@10"
    )
    lines = [
        f"  {c.rows:>7,} rows, {c.questions:<9}           {c.ours.cpu_ms:6.2f} {c.plain.cpu_ms:6.2f}"
        f" {c.numpy.cpu_ms:6.2f} {c.hybrid.cpu_ms:7.2f}          {c.ours.wall_ms:6.2f} {c.plain.wall_ms:6.2f}"
        f" {c.hybrid.wall_ms:7.2f}   {c.less_cpu:7.1f}x {_ratio(c.ours, c.numpy):8.2f}  {c.recall:9.3f}"
        for c in result.compared
    ]
    return "\n".join([head, *lines])


def as_json(result: Result) -> str:
    """The figures, and the ratios that the table shows beside them."""
    rows = [
        {
            **msgspec.to_builtins(c),
            "less_cpu": round(c.less_cpu, 2),
            "cpu_of_numpy": round(_ratio(c.ours, c.numpy), 2),
        }
        for c in result.compared
    ]
    return msgspec.json.encode({"total_rows": result.total_rows, "compared": rows}).decode()
