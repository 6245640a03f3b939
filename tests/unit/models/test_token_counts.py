"""Counting tokens: exact with the ranks at hand, an upper bound without, and never a download."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import pytest
import structlog
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coach.models import tokens

RANKS = Path(__file__).resolve().parents[4] / "shared" / "tiktoken"


@pytest.fixture(autouse=True)
def _fresh():
    tokens._encoding.cache_clear()
    yield
    tokens._encoding.cache_clear()


@pytest.fixture
def no_ranks(tmp_path, monkeypatch) -> Path:
    """An empty cache, and a network that answers nobody: who tries to fetch, fails the test."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))

    def refuse(*_args, **_kwargs):
        raise AssertionError("something went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


@pytest.fixture
def ranks(monkeypatch) -> None:
    if not RANKS.is_dir():
        pytest.fail(f"this test needs tiktoken's rank files in {RANKS}")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))


@pytest.mark.usefixtures("ranks")
@pytest.mark.parametrize(
    ("model", "encoding"),
    [("gpt-4o-mini", "o200k_base"), ("gpt-4", "cl100k_base"), ("gpt-3.5-turbo", "cl100k_base"),
     ("llama3:8b", "o200k_base"),
     ("text-embedding-3-small", "cl100k_base"), ("gpt-4.1", "o200k_base")],
)  # fmt: skip
def test_a_short_text_has_as_many_tokens_as_tiktoken_says(model, encoding):
    text = "Größe zählt nicht: 🎻 üben, 17.5 km laufen, and <|endoftext|> means nothing here."

    assert tokens.count(text, model) == len(tiktoken.get_encoding(encoding).encode_ordinary(text))


@pytest.mark.usefixtures("ranks")
def test_a_long_text_is_counted_to_a_token_a_slice():
    text = "Book the knee MRI before the trip. " * 1_800

    exact = len(tiktoken.get_encoding("o200k_base").encode_ordinary(text))

    assert exact <= tokens.count(text, "gpt-4o") <= exact + len(text) // 4_096 + 1


@pytest.mark.usefixtures("ranks")
@pytest.mark.parametrize("text", ["a" * 8_000_000, "你" * 2_000_000, "a" * 65_536])
def test_no_text_holds_the_server_up(text):
    tokens.encoding_for("gpt-4o")
    started = time.perf_counter()

    assert tokens.count(text, "gpt-4o") > 0

    assert time.perf_counter() - started < 0.5


@pytest.mark.usefixtures("ranks")
@given(st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_are_never_too_few(text):
    assert tokens.count(text, "gpt-4o") <= len(text.encode())


def test_without_ranks_bytes_are_counted_and_said_once(no_ranks):
    with structlog.testing.capture_logs() as logs:
        assert [tokens.count("Größe", "gpt-4o") for _ in range(3)] == [7, 7, 7]

    assert [entry["event"] for entry in logs] == ["tokens.counted_as_bytes"]


def test_a_damaged_rank_file_is_as_good_as_none(no_ranks):
    for path in RANKS.iterdir():
        shutil.copyfile(path, no_ranks / path.name)
    with (no_ranks / tokens._RANKS["o200k_base"][0]).open("r+b") as ranks:
        ranks.truncate(1_000_000)

    assert tokens.count("Größe", "gpt-4o") == 7
    assert tokens.count("Größe", "gpt-4") < 7


def test_an_empty_text_and_half_a_character_are_counted():
    assert tokens.count("", "gpt-4o") == 0
    assert tokens.count("\ud83d", "gpt-4o") > 0
