"""Counting tokens without the ranks: an upper bound, said once, and never a download."""

from __future__ import annotations

import structlog

from coach.models import tokens


def test_without_ranks_bytes_are_counted_and_said_once(no_ranks):
    with structlog.testing.capture_logs() as logs:
        assert [tokens.count("Größe", "gpt-4o") for _ in range(3)] == [7, 7, 7]

    assert [entry["event"] for entry in logs] == ["tokens.counted_as_bytes"]


def test_an_empty_text_and_half_a_character_are_counted():
    assert tokens.count("", "gpt-4o") == 0
    assert tokens.count("\ud83d", "gpt-4o") > 0
