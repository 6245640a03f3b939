"""Counting tokens with the ranks at hand: as tiktoken does, in bounded time."""

from __future__ import annotations

import shutil
import time

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coach.models import tokens
from tests.memory import LARGE, empty
from tests.unit.models.conftest import RANKS


@pytest.fixture
def ranks(monkeypatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))


@pytest.fixture
def forgotten():
    """Each table takes 70 MB: one at a time."""
    empty(LARGE)
    yield
    empty(LARGE)


@pytest.mark.usefixtures("ranks", "forgotten")
@pytest.mark.parametrize(
    ("models", "encoding"),
    [
        (["gpt-4", "gpt-3.5-turbo", "text-embedding-3-small"], "cl100k_base"),
        (["gpt-4o-mini", "llama3:8b", "gpt-4.1"], "o200k_base"),
    ],
)
def test_a_short_text_has_as_many_tokens_as_tiktoken_says(models, encoding):
    text = "Größe zählt nicht: 🎻 üben, 17.5 km laufen, and <|endoftext|> means nothing here."

    exact = len(tiktoken.get_encoding(encoding).encode_ordinary(text))
    assert {model: tokens.count(text, model) for model in models} == dict.fromkeys(models, exact)


@pytest.mark.usefixtures("ranks")
def test_a_long_text_is_counted_to_a_token_a_slice():
    text = "Book the knee MRI before the trip. " * 1_800

    exact = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))

    assert exact <= tokens.count(text, "gpt-4o") <= exact + len(text) // 4_096 + 1


@pytest.mark.usefixtures("ranks")
@pytest.mark.parametrize(("letter", "times"), [("a", 8_000_000), ("你", 2_000_000), ("a", 65_536)])
def test_no_text_holds_the_server_up(letter, times):
    text = letter * times
    tokens.encoding_for("gpt-4o")
    started = time.process_time()

    assert tokens.count(text, "gpt-4o") > 0

    assert time.process_time() - started < 0.5


@pytest.mark.usefixtures("ranks")
@given(st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_bytes_are_never_too_few(text):
    assert tokens.count(text, "gpt-4o") <= len(text.encode())


@pytest.mark.usefixtures("forgotten")
def test_a_damaged_rank_file_is_as_good_as_none(no_ranks):
    for path in RANKS.iterdir():
        shutil.copyfile(path, no_ranks / path.name)
    with (no_ranks / tokens._RANKS["o200k_base"][0]).open("r+b") as ranks:
        ranks.truncate(1_000_000)

    assert tokens.count("Größe", "gpt-4o") == 7
    assert tokens.count("Größe", "gpt-4") < 7
