"""``coach demo``: a made-up user, a year of her life, and the server, in one command."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import date, timedelta
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coach.commands.token import make_token
from coach.database.embedded import EmbeddedServer
from coach.database.pool import Database
from coach.demo.generate import DEMO_SEED, generate
from coach.demo.load import is_loaded, load
from coach.demo.population import name_of, settle
from coach.identity.secret import with_secret
from coach.identity.users import ensure_user
from coach.retrieval.base import Embedder
from coach.server import listen, serve
from coach.services import open_services
from coach.settings import Settings, load_settings, misspelt
from coach.telemetry import configure_logging

NAME = "demo"
TOKEN_LIFE = timedelta(days=30)


def run(host: str, port: int, users: int = 0, *, embeds: bool = True) -> int:
    """Prepare what is missing, with ``users`` more users, then serve until Ctrl-C; returns the exit code."""
    console = Console(highlight=False)
    for line in misspelt():
        console.print(f"coach: {line}", style="yellow", markup=False)
    settings = with_secret(load_settings())
    if "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "warning"})  # the terminal is for the user here
    configure_logging(settings.log_level)
    listen(host, port).close()  # report a port in use before a minute is spent on the rest
    with ExitStack() as stack:
        if settings.database_url is None:
            # Held from here on, so that it does not stop and start again between preparing and serving.
            stack.enter_context(EmbeddedServer(settings.home))
        token = asyncio.run(_prepare(settings, console, users))
        return serve(settings, host, port, ready=lambda address: _welcome(console, address, token), embeds=embeds)


async def _prepare(settings: Settings, console: Console, users: int) -> str:
    """Prepare the database, its migrations, the user and her year; returns her token."""
    async with open_services(settings, needs_operators=True) as services:
        db = services.db
        accounts = await _accounts(
            services.require_operators(), [NAME, *(name_of(number) for number in range(1, users + 1))]
        )
        if not await is_loaded(db, accounts[0]):
            with console.status("Writing a year of a life into the database …"):
                await load(db, services.embedder, accounts[0], generate(DEMO_SEED, date.today()))
        if users:
            await _populate(db, services.embedder, console, accounts[1:])
    return await make_token(settings, NAME, "authenticated", TOKEN_LIFE)


async def _accounts(operators: Database, names: list[str]) -> list[UUID]:
    async with operators.as_operator() as tx:
        return [await ensure_user(tx, name) for name in names]


async def _populate(db: Database, embedder: Embedder, console: Console, users: list[UUID]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"{name_of(1)} to {name_of(len(users))}", total=len(users))
        await settle(
            db,
            embedder,
            users,
            date.today(),
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )


def _welcome(console: Console, address: str, token: str) -> None:
    question = '{"messages":[{"role":"user","parts":[{"type":"text","text":"What should I do about my knee?"}]}]}'
    console.print("\n[bold]Aurum Coach is running.[/bold] Maya's year is loaded; ask her coach.\n")
    console.print(f"  Open     {address}")
    console.print(f"  Sign in  {address}/#token={token}", soft_wrap=True)
    console.print(f"\n  Token    {token}", soft_wrap=True)
    console.print("\n  Or from a shell:")
    console.print(
        f"  curl -N {address}/api/chat -H 'Content-Type: application/json' \\\n"
        f"    -H 'Authorization: Bearer {token}' \\\n"
        f"    -d '{question}'",
        soft_wrap=True,
        markup=False,
    )
    console.print("\n  Ctrl-C stops it; the data stay for the next time.\n")
