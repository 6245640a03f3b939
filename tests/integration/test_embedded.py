"""The embedded database, with real processes that start it, share it, leave it and are killed."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from coach.database.embedded import SOCKET, EmbeddedServer
from coach.errors import DatabaseUnavailable, Misconfigured

ROOM = 107 - len(f"/postgres/{SOCKET}")
QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}
JOIN = f"""
    import sys
    from pathlib import Path
    from coach.database.embedded import EmbeddedServer
    with EmbeddedServer(Path(sys.argv[1]), options={QUICK!r}) as server:
        print("in", flush=True)
        sys.stdin.readline()
    print("out", flush=True)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that everybody may enter, and no server below it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cpg-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for process in postmasters(folder):
        process.send_signal(signal.SIGQUIT)
    psutil.wait_procs(postmasters(folder), 10)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A home whose database has been made and stopped; for copying, which is quicker than initdb."""
    folder = Path(tempfile.mkdtemp(prefix="cpg-", dir="/tmp"))
    folder.chmod(0o755)
    with server_at(folder / "home"):
        pass
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(place: Path, made: Path) -> Path:
    subprocess.run(["cp", "-a", str(made), str(place / "home")], check=True)
    return place / "home"


def server_at(home: Path) -> EmbeddedServer:
    return EmbeddedServer(home, options=QUICK)


def postmasters(folder: Path) -> list[psutil.Process]:
    """The servers whose data lie below ``folder``, without their children: one that was forked this moment still has
    its parent's command line."""
    found = {process.pid: process for process in psutil.process_iter() if f"{folder}/" in " ".join(command_of(process))}
    return [process for process in found.values() if parent_of(process) not in found]


def running_below(folder: Path) -> bool:
    return any(f"{folder}/" in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def command_of(process: psutil.Process) -> list[str]:
    try:
        command = process.cmdline()
    except psutil.Error:
        return []
    return command if command and command[0].endswith("/postgres") else []


def parent_of(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def until(happened: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class User:
    """A process that uses the database until it is told to leave."""

    def __init__(self, home: Path, *, wait: bool = True, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(JOIN), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        if wait:
            self.arrived()

    def arrived(self) -> None:
        assert self.process.stdout.readline() == "in\n", self.process.stderr.read()

    def leave(self) -> None:
        self.process.communicate("\n", timeout=30)
        assert self.process.returncode == 0

    def killed(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


def answers(server: EmbeddedServer) -> bool:
    with psycopg.connect(server.url("postgres")) as connection:
        return connection.execute("select 1").fetchone() == (1,)


def test_it_starts_answers_and_stops_with_its_only_user(home, place):
    with server_at(home) as server:
        assert answers(server)
        assert server.running()
        assert len(postmasters(place)) == 1
    assert not server.running()
    assert postmasters(place) == []


def test_it_comes_back_when_it_is_killed_and_only_for_its_users(home, place):
    with server_at(home) as server, server_at(home) as other:
        assert not server.revive()
        (dead,) = postmasters(place)
        dead.kill()
        until(lambda: not other.running())

        assert revived(server)
        assert not other.revive(), "it is back already"
        assert answers(other)
        assert len(postmasters(place)) == 1
    assert postmasters(place) == []
    assert not server.revive()
    assert postmasters(place) == [], "nobody uses it any more"


def revived(server: EmbeddedServer) -> bool:
    """A child of the dead one may still hold its memory for a moment."""
    for _ in range(100):
        try:
            return server.revive()
        except DatabaseUnavailable:
            time.sleep(0.1)
    return False


def test_data_survive_a_restart(home):
    with server_at(home) as server, psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("create table kept as select 'still here' as word")

    with server_at(home) as server, psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("select word from kept").fetchone() == ("still here",)


def test_a_second_process_shares_it_and_the_last_to_leave_stops_it(home, place):
    first, second = User(home), User(home)
    assert len(postmasters(place)) == 1

    first.leave()
    assert answers(server_at(home))
    second.leave()
    assert postmasters(place) == []


def test_two_servers_within_one_process_are_two_users(home, place):
    with server_at(home) as one:
        with server_at(home):
            pass
        assert answers(one)
    assert postmasters(place) == []


def test_starting_twice_is_one_user_and_stopping_twice_is_harmless(home):
    server = server_at(home).start().start()
    server.stop()
    server.stop()
    assert not server.running()


def test_six_processes_that_start_at_the_same_moment_make_one_database(place):
    users = [User(place / "new", wait=False) for _ in range(6)]
    for user in users:
        user.arrived()

    assert len(postmasters(place)) == 1
    for user in users:
        user.process.stdin.close()
    for user in users:
        assert user.process.wait(30) == 0
    assert postmasters(place) == []
    assert sorted(path.name for path in (place / "new").iterdir()) == ["postgres", "start.lock", "users.lock"]


def test_a_killed_user_does_not_stop_it_under_others(home):
    first, second = User(home), User(home)
    first.killed()

    assert answers(server_at(home))
    second.leave()
    assert not server_at(home).running()


def test_after_all_users_were_killed_the_next_one_takes_it_over_and_stops_it(home, place):
    user = User(home)
    user.killed()
    (before,) = postmasters(place)

    with server_at(home) as server:
        assert answers(server)
        assert postmasters(place) == [before]
    assert postmasters(place) == []


def test_a_killed_server_is_started_again_and_has_what_was_committed(home, place):
    with server_at(home) as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("create table kept as select 1 as number")
        (postmaster,) = postmasters(place)
        postmaster.kill()
        until(lambda: not postmasters(place))
        with server_at(home) as again, psycopg.connect(again.url("postgres")) as connection:
            assert connection.execute("select number from kept").fetchone() == (1,)
    assert postmasters(place) == []


@pytest.mark.parametrize("whose", ["another program's", "our own", "nobody's", "half written"])
def test_what_a_crash_left_in_postmaster_pid_is_seen_through(home, place, whose):
    """In a container numbers come again: after a crash the old server's may be that of any program, or ours."""
    owner = (home / "postgres").stat()
    other = subprocess.Popen(["sleep", "60"], user=owner.st_uid)
    numbers = {"another program's": other.pid, "our own": os.getpid(), "nobody's": 2**22 + 1}
    content = f"{numbers.get(whose)}\n{home}/postgres\n1\n5432\n{home}/postgres\n\n  5432001  131072\nready\n"
    for name in ("postmaster.pid", f"{SOCKET}.lock"):
        file = home / "postgres" / name
        file.write_text(content if whose in numbers else "")
        os.chown(file, owner.st_uid, owner.st_gid)
    try:
        with server_at(home) as server:
            assert answers(server)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_environment_of_another_postgresql_is_ignored(home):
    user = User(home, PGPORT="6000", PGDATA="/nowhere", PGHOST="db.example", LC_ALL="xx_XX.UTF-8", LANG="xx")
    assert answers(server_at(home))
    user.leave()


@pytest.mark.parametrize("name", ["with a space", "it's; %20 & more? #1", "größe"])
def test_unusual_paths_work(place, made, name):
    subprocess.run(["cp", "-a", str(made), str(place / name)], check=True)
    with server_at(place / name) as server:
        assert answers(server)


@pytest.mark.parametrize("name", ["a,b", "a$b", 'a"b', "a`b", "a\\b", "a\nb"])
def test_paths_that_would_mean_something_else_are_refused(place, name):
    with pytest.raises(Misconfigured, match=r"COACH_HOME: .*Example:"):
        server_at(place / name).start()
    assert list(place.iterdir()) == []


def test_the_longest_path_works_and_one_byte_more_names_the_limit(place, made):
    longest = place / ("x" * (ROOM - len(str(place)) - 1))
    subprocess.run(["cp", "-a", str(made), str(longest)], check=True)
    with server_at(longest) as server:
        assert answers(server)

    with pytest.raises(Misconfigured, match=f"COACH_HOME: .* at most {ROOM}"):
        server_at(longest.with_name(longest.name + "y")).start()


def test_bytes_are_counted_not_letters(place):
    with pytest.raises(Misconfigured, match="too long"):
        server_at(place / ("ü" * (ROOM - len(str(place)) - 1))).start()


def test_only_the_owner_can_open_data_socket_and_locks(home):
    with server_at(home) as server:
        data = server.data.stat()
        assert stat.S_IMODE(data.st_mode) == 0o700
        assert (server.data / SOCKET).exists()
        assert {stat.S_IMODE((home / name).stat().st_mode) for name in ("start.lock", "users.lock")} == {0o600}
        with psycopg.connect(server.url("postgres")) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("",)


def test_permissions_that_someone_opened_are_closed_at_the_next_start(home):
    (home / "postgres").chmod(0o750)
    with server_at(home):
        assert stat.S_IMODE((home / "postgres").stat().st_mode) == 0o700


def test_directories_it_makes_are_its_owners_whatever_the_umask(place):
    before = os.umask(0o077)
    try:
        with server_at(place / "deep" / "new"):
            pass
    finally:
        os.umask(before)
    expected = 0o711 if os.geteuid() == 0 else 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (place / "deep", place / "deep" / "new")} == {expected}


def test_its_log_holds_no_user_text(home):
    with server_at(home) as server, psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("create table diary (words text primary key)")
        connection.execute("insert into diary values ('a secret')")
        for statement in ("insert into diary values ('a secret')", "select 'a secret'::uuid", "select 'a secret"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
    assert "secret" not in (home / "postgres" / "server.log").read_text()


def test_its_log_is_kept_from_the_time_before_and_no_longer(home):
    for _ in range(3):
        with server_at(home):
            pass
    assert sorted(path.name for path in (home / "postgres").glob("server.log*")) == ["server.log", "server.log.1"]


@pytest.mark.parametrize("when", [0.0, 0.2, 0.8])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_first_start_leaves_nothing_that_breaks_the_next(place, when, how):
    user = User(place / "new", wait=False)
    until(lambda: (place / "new" / "start.lock").exists() or user.process.poll() is not None)
    time.sleep(when)
    user.process.send_signal(how)
    user.process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert postmasters(place) == []

    with server_at(place / "new") as server:
        assert answers(server)
    until(lambda: not running_below(place))
    with server_at(place / "new"):  # an initdb that outlived its parent may have gone on writing into its own place
        assert list((place / "new").glob("making-*")) == []
    assert postmasters(place) == []


def test_data_of_another_release_are_left_alone(home):
    (home / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(Misconfigured, match="holds 17 PostgreSQL data"):
        server_at(home).start()
    (home / "postgres" / "PG_VERSION").write_text("18\n")
    with server_at(home) as server:
        assert answers(server)


def test_a_broken_configuration_gives_its_reason_and_no_later_start_waits(home, place):
    broken = EmbeddedServer(home, options=QUICK | {"max_connections": "many"})
    with pytest.raises(DatabaseUnavailable, match="max_connections"):
        broken.start()
    with server_at(home) as server:
        assert answers(server)
    assert postmasters(place) == []


def test_a_full_disk_is_said_in_one_line(place):
    """A limit on the size of files stands in for it: initdb hears "no" from the kernel all the same."""
    command = [sys.executable, "-c", textwrap.dedent(JOIN), str(place / "new")]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 64; exec "$@"', "-", *command],
        input="\n",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("coach.errors.DatabaseUnavailable: The embedded database: initdb failed:")
    assert list((place / "new").glob("making-*")) == []
    with server_at(place / "new") as server:
        assert answers(server)


def test_a_home_that_is_a_file_is_said_clearly(place):
    (place / "file").touch()
    for home in (place / "file", place / "file" / "below"):
        with pytest.raises(Misconfigured, match=r"COACH_HOME: .*cannot be used"):
            server_at(home).start()
