"""The rows that the vector bench searches: topics as text has them, in our tables and in plain ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID, uuid4

from msgspec import Struct
from numpy.random import Generator
from pgvector.utils import Vector as PlainVector

from coach.bench.vector_space import Space
from coach.database.pool import Transaction
from coach.database.queries import load
from coach.retrieval.base import Vector, halfvec

MODEL = "bench"
_sql = load("bench")


class BenchUser(Struct, frozen=True):
    """One user's rows: the first half is life data, the second messages. ``topics`` are those they have rows about."""

    user_id: UUID
    topics: tuple[int, ...]
    vectors: Vector
    texts: list[str]


def people(space: Space, sizes: list[int], dice: Generator) -> Iterator[BenchUser]:
    for size in sizes:
        topics = tuple(int(topic) for topic in dice.choice(space.topics, space.topics // 4, replace=False))
        vectors = space.about(dice.choice(topics, size))
        yield BenchUser(uuid4(), topics, vectors, [f"{number}: {sentence(dice)}" for number in range(size)])


def sentence(dice: Generator, words: int = 20) -> str:
    """Words of a vocabulary of 5,000, frequent and rare as those of a language are without its stop words."""
    ranks = 30 * (5_000 / 30) ** dice.random(words)
    return " ".join(f"word{int(rank)}" for rank in ranks)


async def make_tables(owner: Transaction) -> None:
    await _sql.make_plain.run(owner)


async def store(owner: Transaction, person: BenchUser) -> None:
    """The same rows in both pairs of tables."""
    half = len(person.texts) // 2
    await owner.execute("insert into auth.users (id) values (%s)", (person.user_id,))
    facts, messages = slice(0, half), slice(half, None)
    await _copy(
        owner,
        "copy user_metadata_embeddings (user_id, text_snippet, embedding, domain_tag, entity_id, embedding_model)"
        " from stdin (format binary)",
        ["uuid", "text", "halfvec", "text", "uuid", "text"],
        ((person.user_id, t, halfvec(v), "task", uuid4(), MODEL) for t, v in _rows(person, facts)),
    )
    await _copy(
        owner,
        "copy ai_conversation_memory (user_id, message_content, message_embedding, message_role, embedding_model)"
        " from stdin (format binary)",
        ["uuid", "text", "halfvec", "text", "text"],
        ((person.user_id, t, halfvec(v), "user", MODEL) for t, v in _rows(person, messages)),
    )
    for table, part in (("plain_metadata_embeddings", facts), ("plain_conversation_memory", messages)):
        await _copy(
            owner,
            COPY_PLAIN[table],
            ["uuid", "vector", "text"],
            ((person.user_id, PlainVector(v), t) for t, v in _rows(person, part)),  # type: ignore[no-untyped-call]
        )


COPY_PLAIN: dict[str, LiteralString] = {
    "plain_metadata_embeddings": "copy plain_metadata_embeddings from stdin (format binary)",
    "plain_conversation_memory": "copy plain_conversation_memory from stdin (format binary)",
}


def _rows(person: BenchUser, part: slice) -> Iterator[tuple[str, Vector]]:
    return zip(person.texts[part], person.vectors[part], strict=True)


async def _copy(
    owner: Transaction, statement: LiteralString, types: list[str], rows: Iterator[tuple[Any, ...]]
) -> None:
    async with owner.cursor().copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            await copy.write_row(row)
