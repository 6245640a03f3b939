"""Feature types: what a turn may be about. Every prompt whose head says ``feature: true`` is one."""

from __future__ import annotations

from pathlib import Path

from coach.resources import PROMPTS


def read_features(folder: Path) -> tuple[str, ...]:
    """Their names, sorted. Read without YAML, which takes longer than the rest of a start."""
    files = sorted(folder.glob("*/*.md"))
    return tuple(dict.fromkeys(file.parent.name for file in files if "feature: true" in _head(file)))


def _head(file: Path) -> list[str]:
    _, head, *_ = (*file.read_text("utf-8").split("---\n", 2), "")
    return head.splitlines()


FEATURES = read_features(PROMPTS)
DEFAULT_FEATURE = "goal_coaching"
