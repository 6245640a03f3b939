"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coach.settings import Settings, variable_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def table() -> dict[str, str]:
    """Variable and default, of the table at the end of the page."""
    rows = re.findall(r"^\| `(COACH_\w+)` \|[^|]+\| ([^|]+) \|$", OPERATIONS, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_operators_find_every_variable_and_no_other() -> None:
    assert list(table()) == [variable_of(field) for field in Settings.model_fields]


def test_the_defaults_are_the_real_ones() -> None:
    told = table()
    for name, field in Settings.model_fields.items():
        if field.default and field.default_factory is None:
            assert told[variable_of(name)] == f"`{field.default}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_variable_that_nothing_reads(page: Path) -> None:
    known = {variable_of(field) for field in Settings.model_fields} | {"COACH_TOKEN"}
    assert set(re.findall(r"COACH_[A-Z_]*[A-Z]", page.read_text())) - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
