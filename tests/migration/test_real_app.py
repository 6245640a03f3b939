"""The real app's database, on Supabase: what is of another type, null, narrower or in the way is adopted, and told."""

from __future__ import annotations

from coach.database.migrations import migrate
from tests.migration.conftest import Supabase


async def test_it_is_adopted(supabase: Supabase) -> None:
    lines: list[str] = []
    try:
        await migrate(supabase.url, report=lines.append)
    finally:
        print("\n".join(lines))
