"""How a provider tells the end and the tokens of an answer, each in its own words: one reading for all of them."""

from __future__ import annotations

import re
from typing import Any

from coach.models.base import FinishReason, Usage

_NAMES: dict[FinishReason, str] = {
    "stop": "stop endturn stopsequence eos eostoken complete completed finished done end",
    "length": "length maxtokens maxoutputtokens maxlength limit modellength modelcontextwindowexceeded",
    "content-filter": "contentfilter contentfiltered refusal safety guardrailintervened recitation blocklist sensitive"
    " prohibitedcontent spii",
    "other": "toolcalls tooluse functioncall",
}
_ENDINGS = {name: reason for reason, names in _NAMES.items() for name in names.split()}
"""The good endings. Whatever else a provider calls the end (``error``, ``network_error``, ``abort``) is a failure."""

MOST_TOKENS = 10_000_000
"""No call uses more. A greater figure is a fault of the provider's."""


def read_ending(told: Any) -> FinishReason | None:
    """None where nothing is told yet, ``error`` where it is no good ending."""
    if not isinstance(told, str) or not (name := re.sub(r"[\W_]+", "", told).lower()) or name in ("null", "none"):
        return None
    return _ENDINGS.get(name.removeprefix("finishreason"), "error")


def read_usage(asked: Any, written: Any) -> Usage | None:
    """None where the figures cannot be true: what is missing, no whole number, below 1 or beyond all reason."""
    figures = [int(told) for told in (asked, written) if _is_figure(told)]
    return Usage(figures[0], figures[1]) if len(figures) == 2 else None


def _is_figure(told: Any) -> bool:
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    return is_number and 1 <= told <= MOST_TOKENS and told == int(told)


def wordless(reason: FinishReason) -> str:
    """Why there is no answer, where a model ended without a word."""
    if reason == "content-filter":
        return "The language model's content filter withheld the answer."
    if reason == "length":
        return "The language model came to the end of its tokens before it said a word; raise its answer_tokens."
    return "The language model gave an empty answer; try again."
