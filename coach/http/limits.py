"""How much a body may hold."""

from __future__ import annotations

CHAT_BODY = 8 * 1024 * 1024
OTHER_BODY = 256 * 1024
IMPORT_BODY = 192 * 1024 * 1024
"""500 messages of 32,000 characters, each of them written as the escapes of two halves (12 bytes)."""
