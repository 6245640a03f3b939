"""How much a body may hold."""

from __future__ import annotations

CHAT_BODY = 8 * 1024 * 1024
OTHER_BODY = 256 * 1024
