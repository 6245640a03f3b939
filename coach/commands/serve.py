"""``coach serve``."""

from __future__ import annotations

import sys

import click

from coach.identity.secret import with_secret
from coach.server import serve
from coach.settings import load_settings, misspelt


def run(host: str, port: int, workers: int, *, embeds: bool) -> None:
    for line in misspelt():
        click.echo(f"coach: {line}", err=True)
    sys.exit(serve(with_secret(load_settings()), host, port, workers, embeds=embeds))
