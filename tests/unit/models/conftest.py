"""Counting with tiktoken's rank files, where this machine has them, and without."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from coach.models import tokens

RANKS = Path(__file__).resolve().parents[4] / "shared" / "tiktoken"

# Where they are missing there are no such tests, rather than some that are skipped: nothing here downloads.
collect_ignore = [] if RANKS.is_dir() else ["test_exact_counts.py"]


@pytest.fixture(autouse=True)
def fresh_encodings():
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
