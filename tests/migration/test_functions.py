"""Function files: applied again when they change, with what stands on them, and without a trace of what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from coach.database.migrations import APPLIED, migrate, pending
from coach.database.schema_files import read_schema
from coach.errors import Misconfigured
from coach.resources import SQL
from tests.migration.catalog import catalog, differences
from tests.migration.statements import run

TRIPLE = """-- after: double
create function coach.triple(n integer) returns integer
language sql
begin atomic
    select coach.double(n) + n;
end;
"""
DOUBLE = "create function coach.double(n integer) returns integer language sql return 2 * n;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our files, with two more: ``double``, and ``triple`` that stands on it."""
    shutil.copytree(SQL, tmp_path / "sql")
    write(tmp_path / "sql", "double", DOUBLE)
    write(tmp_path / "sql", "triple", TRIPLE)
    return tmp_path / "sql"


def write(folder: Path, name: str, text: str) -> None:
    (folder / "functions" / f"{name}.sql").write_text(text)


async def test_a_changed_file_is_named_and_applied_with_what_stands_on_it(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    write(folder, "double", DOUBLE.replace("2 * n", "20 * n"))

    assert await pending(empty, folder=folder) == ("functions/double.sql", "functions/triple.sql")
    assert (await migrate(empty, folder=folder)).names == ("functions/double.sql", "functions/triple.sql")

    assert run(empty, "select coach.triple(1)") == [(21,)]
    assert await pending(empty, folder=folder) == ()


async def test_a_file_that_stands_on_nothing_that_changed_is_left_alone(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    write(folder, "triple", TRIPLE.replace("+ n", "+ n + 0"))

    assert (await migrate(empty, folder=folder)).names == ("functions/triple.sql",)


async def test_a_signature_may_change_and_what_a_file_no_longer_makes_is_gone(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    write(folder, "double", "create function coach.double(n numeric) returns numeric language sql return 2 * n;\n")
    write(folder, "triple", "create view coach.tripled as select coach.double(1.5) as n;\n")

    await migrate(empty, folder=folder)

    assert run(empty, "select to_regprocedure('coach.double(integer)')") == [(None,)]
    assert run(empty, "select n from coach.tripled") == [(3,)]
    assert run(empty, "select to_regproc('coach.triple')") == [(None,)]


async def test_what_a_deleted_file_had_made_is_gone(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    (folder / "functions" / "triple.sql").unlink()

    assert await pending(empty, folder=folder) == ("functions/triple.sql",)
    await migrate(empty, folder=folder)

    assert run(empty, "select to_regproc('coach.triple')") == [(None,)]
    assert await pending(empty, folder=folder) == ()


async def test_what_an_app_has_built_on_a_function_is_put_back(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    run(
        empty,
        """
        create table numbers (n integer);
        alter table numbers enable row level security;
        create view doubled as select n, coach.double(n) as twice from numbers;
        grant select on doubled to authenticated;
        create policy even on numbers for select to authenticated using (coach.double(n) % 4 = 0);
        create trigger touch before update on numbers for each row execute function coach.touch();
        insert into numbers values (1);
        """,
    )
    before = catalog(empty)
    reported: list[str] = []
    write(folder, "double", DOUBLE + "-- Another text.\n")
    life = (folder / "functions" / "life.sql").read_text()
    write(folder, "life", life + "-- Another text.\n")

    await migrate(empty, folder=folder, report=reported.append)

    assert differences(before, catalog(empty)) == []
    assert run(empty, "select twice from doubled") == [(2,)]
    assert sorted(reported) == [
        "policy even on public.numbers: recreated", "trigger touch on public.numbers: recreated",
        "view public.doubled: recreated",
    ]  # fmt: skip


async def test_what_a_column_stands_on_is_named_and_nothing_changes(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    run(empty, "create table numbers (n integer default coach.double(1))")
    write(folder, "double", DOUBLE.replace("2 * n", "20 * n"))

    with pytest.raises(Misconfigured, match=r"coach\.double.*column n of table numbers"):
        await migrate(empty, folder=folder)

    assert run(empty, "select coach.triple(1)") == [(3,)]


async def test_a_failing_file_changes_nothing_and_is_named(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)
    write(folder, "double", DOUBLE.replace("2 * n", "20 * n"))
    write(folder, "triple", "-- after: double\nselect 1 / 0;\n")

    with pytest.raises(psycopg.errors.DivisionByZero) as failure:
        await migrate(empty, folder=folder)

    assert failure.value.__notes__ == ["in sql/functions/triple.sql"]
    assert run(empty, "select coach.triple(1)") == [(3,)]


async def test_applying_every_file_again_changes_nothing(empty: str, folder: Path) -> None:
    """Their grants and triggers stand in them. A new migration makes all of them again."""
    await migrate(empty, folder=folder)
    before = catalog(empty)
    (folder / "migrations" / "9999_nothing.sql").write_text("select 1;\n")

    assert len((await migrate(empty, folder=folder)).names) == 1 + len(read_schema(folder).functions)

    assert differences(before, catalog(empty)) == []


async def test_a_function_is_nobodys_to_call_until_its_file_says_so(empty: str, folder: Path) -> None:
    await migrate(empty, folder=folder)

    assert run(empty, "select has_function_privilege('anon', 'coach.double(integer)', 'execute')") == [(False,)]


async def test_a_migration_finds_the_functions_that_it_names(empty: str, folder: Path) -> None:
    (folder / "migrations" / "0000_early.sql").write_text(
        "-- after: triple\ncreate table public.early as select coach.triple(1) as n;\n"
    )

    await migrate(empty, folder=folder)

    assert run(empty, "select n from early") == [(3,)]


def test_a_file_that_stands_on_none_that_there_is_is_refused(folder: Path) -> None:
    write(folder, "triple", TRIPLE.replace("double", "doubel", 1))

    with pytest.raises(ValueError, match="stands on doubel"):
        read_schema(folder)


async def test_servers_of_the_former_version_are_not_told_that_they_lack_their_functions(
    empty: str, folder: Path
) -> None:
    former = read_schema(folder)
    await migrate(empty, folder=folder)
    write(folder, "double", DOUBLE.replace("2 * n", "20 * n"))
    with psycopg.connect(empty) as connection:
        assert read_schema(folder).lacking(connection.execute(APPLIED).fetchall()) == {
            "functions/double.sql", "functions/triple.sql",
        }  # fmt: skip
    await migrate(empty, folder=folder)

    with psycopg.connect(empty) as connection:
        applied = connection.execute(APPLIED).fetchall()
    assert former.lacking(applied) == set()
    assert read_schema(folder).lacking(applied) == set()
