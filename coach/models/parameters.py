"""Parameters of a call that nobody asked for: what a provider refuses of them is left out, and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins

from coach.models.base import ModelOptions
from coach.models.openai_failures import Refused

ROOM_TO_THINK = 25_000
"""Tokens of an answer where no setting says otherwise: what OpenAI advises to leave to a reasoning model."""

UNKNOWN_CONTEXT = 16_384
"""Tokens that a model takes of which LangChain knows nothing."""

_NEWER = frozenset(("stream_options", "max_completion_tokens"))
"""Always ours: older endpoints know neither, and call the second ``max_tokens``."""
_LENGTH = frozenset((
    "max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens", "maxOutputTokens", "maxTokens",
    "num_predict",
))  # fmt: skip
_SUGGESTED = frozenset(("temperature", "top_p", "seed")) | _LENGTH
_NOT_ABOUT_THEM = frozenset((401, 403, 408, 429))


class Parameters:
    """What one endpoint has refused so far. What a caller asked for is never left out silently."""

    def __init__(self) -> None:
        self.left_out: frozenset[str] = frozenset()

    @staticmethod
    def spell(payload: Mapping[str, Any], left_out: frozenset[str], *, is_ours: bool) -> dict[str, Any]:
        skipped = left_out if is_ours else left_out & _NEWER
        spelled = {name: value for name, value in payload.items() if name not in skipped}
        if "max_completion_tokens" in skipped & payload.keys() and "max_tokens" not in skipped:
            spelled["max_tokens"] = payload["max_completion_tokens"]
        return spelled

    @staticmethod
    def refused(refused: Refused, sent: Mapping[str, Any], *, is_ours: bool) -> frozenset[str]:
        """What to leave out of the next try: the parameter that is named; all of ours where a refusal names none."""
        if refused.status in _NOT_ABOUT_THEM:
            return frozenset()
        ours = (_NEWER | _SUGGESTED if is_ours else _NEWER) & sent.keys()
        named = frozenset(name for name in ours if refused.names(name))
        if is_ours and any(map(refused.names, _LENGTH)):
            named |= ours & _LENGTH
        suggested = ours & _SUGGESTED
        is_unnamed = not named and refused.status in (400, 422) and suggested
        return suggested | _LENGTH if is_unnamed else named


def default_ceiling(context_tokens: int, profile: Mapping[str, Any]) -> int:
    """Half of the context at most, and no more than the model is known to write."""
    return min(ROOM_TO_THINK, context_tokens // 2, int(profile.get("max_output_tokens") or ROOM_TO_THINK))


def sent_parameters(options: ModelOptions, ceiling: int) -> dict[str, Any]:
    """By their names; a length that nobody asked for holds the thoughts before the answer too."""
    given: dict[str, Any] = to_builtins(options)
    if given.pop("is_ours", False) and "max_tokens" in given:
        given["max_tokens"] = ceiling
    return given
