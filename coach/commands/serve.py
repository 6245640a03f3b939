"""``coach serve``."""

from __future__ import annotations

import sys

from coach.identity.secret import with_secret
from coach.server import serve
from coach.settings import load_settings


def run(host: str, port: int, workers: int) -> None:
    sys.exit(serve(with_secret(load_settings()), host, port, workers))
