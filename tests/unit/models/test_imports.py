"""LangChain costs seconds to import: nothing may, that the command line imports at its start."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "langchain",
    "langchain_core",
    "langchain_openai",
    "openai",
    "tiktoken",
    "pydantic_ai",
    "litestar",
    "wordllama",
]


@pytest.mark.parametrize(
    "module",
    ["coach.models", "coach.models.base", "coach.models.offline", "coach.models.fallback", "coach.models.configure",
     "coach.models.tokens", "coach.testing.stub_provider"],
)  # fmt: skip
def test_the_seam_and_the_offline_model_import_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"

    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert imported.split() == []
