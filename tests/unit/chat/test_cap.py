"""An answer past its cap ends with ``length``, and no piece of it is too large for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from coach.chat.cap import SLICE, SLICES_BETWEEN_PAUSES, AnswerCap, capped
from coach.chat.prompt import Prompt
from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, Completion, Delta, Piece, Reasoning, Usage
from coach.retrieval.base import Receipt

PROMPT = Prompt((ChatMessage("user", "one two three"),), (), Receipt(), AS_THE_MODEL_LIKES)
END = Completion("stop", Usage(3, 9), "stub")


def words(text: str) -> int:
    return len(text.split())


async def read(cap: AnswerCap, *pieces: Piece, count: object = words) -> list[Piece]:
    async def stream() -> AsyncIterator[Piece]:
        for piece in pieces:
            yield piece

    return [piece async for piece in capped(stream(), cap, PROMPT, "stub", count)]  # type: ignore[arg-type]


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta | Reasoning))


@pytest.mark.parametrize(("bytes_", "text"), [(9, "ab cd éf"), (8, "ab cd é"), (7, "ab cd "), (1, "a")])
async def test_bytes_are_counted_to_the_edge_and_no_character_is_cut(bytes_: int, text: str) -> None:
    told = await read(AnswerCap(bytes=bytes_), Delta("ab "), Delta("cd éf"), END)

    assert text_of(told) == text
    assert told[-1] == (END if bytes_ == 9 else Completion("length", Usage(7, words(text), counted=True), "stub"))


@pytest.mark.parametrize("tokens", [1, 7, 99, 100])
async def test_tokens_are_counted_to_the_edge(tokens: int) -> None:
    told = await read(AnswerCap(tokens=tokens), *[Delta("word ") for _ in range(100)], END)

    assert words(text_of(told)) == tokens
    assert isinstance(told[-1], Completion)
    assert told[-1].reason == ("stop" if tokens == 100 else "length")


async def test_one_piece_with_more_tokens_than_fit_is_cut_within() -> None:
    told = await read(AnswerCap(tokens=500), Delta("word " * 5_000), END)

    assert 450 <= words(text_of(told)) <= 501
    assert isinstance(told[-1], Completion)
    assert told[-1].reason == "length"


async def test_tokens_are_counted_once_for_each_text() -> None:
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return words(text)

    await read(AnswerCap(tokens=10_000), *[Delta("word ") for _ in range(9_000)], END, count=count)

    assert counted <= 5 * 9_000


async def test_what_a_model_thinks_counts_as_well() -> None:
    told = await read(AnswerCap(bytes=10), Reasoning("x" * 8), Delta("y" * 8), END)

    assert text_of(told) == "x" * 8 + "yy"
    assert isinstance(told[-1], Completion)
    assert told[-1].reason == "length"


@pytest.mark.parametrize(
    ("pieces", "told"),
    [([Delta("x" * 20_000_000)], 50), ([Reasoning("a"), Delta("b")] * 10_000, 20_000)],
    ids=["one huge delta", "many small pieces"],
)
async def test_what_came_at_once_leaves_the_loop_to_others(pieces: list[Piece], told: int) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await read(AnswerCap(tokens=10**9, bytes=50 * SLICE), *pieces, END)
    beside.cancel()

    assert max(len(piece.text) for piece in found if isinstance(piece, Delta)) <= SLICE
    assert len(found) == told + 1
    assert turns >= (told - 1) // (1 if told == 50 else SLICES_BETWEEN_PAUSES)


async def test_what_no_row_can_hold_is_replaced() -> None:
    assert text_of(await read(AnswerCap(), Delta("a\0b\ud83dc"), Reasoning("\udc00"), END)) == "a\ufffdb\ufffdc\ufffd"
