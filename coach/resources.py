"""Where the files that are not Python lie: next to the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent
ROOT = _CHECKOUT if (_CHECKOUT / "sql").is_dir() else _PACKAGE / "_resources"

SQL = ROOT / "sql"
PROMPTS = ROOT / "prompts"
EVALS = ROOT / "evals"
