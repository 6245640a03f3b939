"""How many tokens a text has, without ever waiting for a download.

tiktoken fetches its ranks from the internet at first use, for as long as a firewall lets it hang. So it is only touched
where the ranks lie on disk, whole; otherwise the UTF-8 bytes are counted, which no byte-pair encoding can exceed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from coach.models.base import ChatMessage, Usage

if TYPE_CHECKING:
    from tiktoken import Encoding

MESSAGE_OVERHEAD = 4
"""Tokens that a chat format adds to each message (OpenAI's cookbook counts 3, and 3 for the whole)."""

# Name and sha256 of the rank files in tiktoken's cache, where a name is the sha1 of the address it came from.
_RANKS = {
    "cl100k_base": (
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    "o200k_base": (
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
}
_OLDER = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-")

# A run of one letter is quadratic in tiktoken: 200,000 took 84 ms whole, 34 ms in slices; a slice is never far off,
# since it can only split a token in two. Beyond the last length bytes are near enough: nothing that long is sent.
_SLICE = 4_096
_COUNTED_EXACTLY = 65_536


def count(text: str, model: str) -> int:
    """Tokens of ``text`` for ``model``: exact to a token a slice where the ranks are at hand, else an upper bound."""
    if not text:
        return 0
    encoding = encoding_for(model) if len(text) <= _COUNTED_EXACTLY else None
    if encoding is None:
        return len(text.encode("utf-8", "surrogatepass"))
    return sum(len(encoding.encode_ordinary(text[at : at + _SLICE])) for at in range(0, len(text), _SLICE))


def count_usage(messages: Sequence[ChatMessage], answer: str, model: str) -> Usage:
    """What a call used, where its provider does not say."""
    asked = sum(count(message.content, model) + MESSAGE_OVERHEAD for message in messages)
    return Usage(asked, count(answer, model), counted=True)


def encoding_for(model: str) -> Encoding | None:
    """The encoding of ``model``, loaded once (0.7 s): call it before the first turn does."""
    return _encoding("cl100k_base" if model == "gpt-4" or model.startswith(_OLDER) else "o200k_base")


@lru_cache(maxsize=4)
def _encoding(name: str) -> Encoding | None:
    path = _cache_directory() / _RANKS[name][0]
    if not _is_whole(path, _RANKS[name][1]):
        import structlog

        structlog.get_logger().warning("tokens.counted_as_bytes", encoding=name, looked_for=str(path))
        return None
    import tiktoken

    return tiktoken.get_encoding(name)


def _cache_directory() -> Path:
    """Where tiktoken looks, in its order."""
    named = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    return Path(named) if named is not None else Path(tempfile.gettempdir()) / "data-gym-cache"


def _is_whole(path: Path, sha256: str) -> bool:
    """tiktoken deletes a damaged file and downloads it again, so a damaged file counts as missing."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
