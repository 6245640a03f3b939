"""The two registries of entity kinds, in SQL and in Python, say the same."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from coach.kinds.registry import KINDS
from coach.privacy.schemas import Preferences


async def test_the_registry_in_sql_and_the_one_in_python_agree(owner: Any) -> None:
    rows = await (
        await owner.execute("select queue_name, kind, consents, chunk_sign from coach.entity_kinds order by queue_name")
    ).fetchall()
    assert rows == sorted((k.queue_name, k.kind, list(k.consents), k.chunk_sign) for k in KINDS.values())


async def test_what_the_registry_names_is_there(owner: Any) -> None:
    """Columns, parents and consents: a name that is not there would fail at the first edit only."""
    rows = await (
        await owner.execute(
            """
            select k.queue_name, c
            from coach.entity_kinds k
            cross join lateral unnest(
                k.naming || k.content
                || array_remove(array[k.hidden_by, k.parent_column, k.dated_by, k.detail_column], null)
            ) c
            where not exists (
                select from information_schema.columns i
                where i.table_schema = 'public' and i.table_name = k.table_name and i.column_name = c
            )
            union all
            select k.queue_name, k.parent_table
            from coach.entity_kinds k
            where k.parent_table not in (select queue_name from coach.entity_kinds)
            """
        )
    ).fetchall()
    assert rows == []
    consents = {name for kind in KINDS.values() for name in kind.consents}
    assert consents <= set(Preferences.__struct_fields__)


async def test_a_table_without_a_kind_is_not_watched(owner: Any) -> None:
    with pytest.raises(psycopg.Error, match="conversations has no row"):
        await owner.execute("select coach.watch('conversations')")
