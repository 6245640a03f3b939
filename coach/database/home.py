"""``COACH_HOME``: made so that nobody else can read what lies in it, and never by opening a directory that exists."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coach.errors import Misconfigured

SYSTEM_USER = "pgserver"
"""Who runs the embedded database when we are root; PostgreSQL refuses to run as root itself."""


def make_home(home: Path) -> Path:
    """The directory with its links resolved; made if it is missing.

    As root others may pass through it, since the database's user must; to read it is its owner's either way.

    :raises Misconfigured: it cannot be made, or as root the database's user could not enter it.
    """
    with explain_os_errors(home):
        home = home.expanduser().resolve()
        if is_root() and (closed := closed_directory(home)):
            raise Misconfigured(
                f"COACH_HOME: as root the database runs as user {SYSTEM_USER}, who cannot enter {closed}, and it would "
                "be wrong to open it. Example: COACH_HOME=/var/lib/aurum-coach"
            )
        missing = [folder for folder in (home, *home.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o711 if is_root() else 0o700)  # whatever the umask says
        if not home.is_dir():
            raise NotADirectoryError(20, "Not a directory")
    return home


@contextmanager
def explain_os_errors(home: Path) -> Iterator[None]:
    """What the system says about files in ``home``, as the operator's to mend."""
    try:
        yield
    except OSError as error:
        example = "/var/lib/aurum-coach" if is_root() else "~/aurum-coach"
        raise Misconfigured(
            f"COACH_HOME: {home} cannot be used ({error.strerror}). Example: COACH_HOME={example}"
        ) from error


def is_root() -> bool:
    return os.geteuid() == 0


def closed_directory(path: Path) -> Path | None:
    """The first existing directory on the way to ``path`` that others may not enter, if any."""
    for folder in (path, *path.parents):
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def system_user() -> pwd.struct_passwd:
    """The user that runs the database when we are root, made if need be.

    :raises Misconfigured: it is missing and cannot be made.
    """
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    try:
        command = ["useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - nothing of a user's in it
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        with suppress(KeyError):  # another process made it at the same moment
            return pwd.getpwnam(SYSTEM_USER)
        raise Misconfigured(
            f"COACH_DATABASE_URL: as root the embedded database needs a system user named {SYSTEM_USER}, and useradd "
            "failed; create it, run as another user, or name a PostgreSQL. Example: COACH_DATABASE_URL=postgresql://…"
        ) from error
