"""``coach import``: a file of conversations to a running server, piece by piece."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import msgspec
from httpx import AsyncClient, Response
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coach.commands.chat import signed_in
from coach.conversations.export_file import Piece, pieces, read_export
from coach.conversations.importing import Imported, Rejected
from coach.errors import CoachError, Unavailable

ATTEMPTS = 5
SHOWN = 20
AGAIN = "What was sent is stored; the same command takes up where it stopped."


async def run(file: Path, url: str, name: str, token: str | None, *, as_json: bool) -> int:
    """Send all of it; returns the exit code: 1 where nothing could be taken."""
    console = Console(stderr=as_json, highlight=False)
    conversations = read_export(file)
    parts = list(pieces(conversations))
    total = Imported(len(conversations), 0, 0, [])
    said, unit = TextColumn("Importing"), TextColumn("messages")
    columns = (said, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    async with await signed_in(url, name, token, httpx.Timeout(120)) as client:
        client.headers["Content-Type"] = "application/json"
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=sum(part.count for part in parts))
            for part in parts:
                _add(total, part, await _sent(client, part))
                progress.advance(bar, part.count)
    if as_json:
        sys.stdout.write(msgspec.json.encode(total).decode() + "\n")
    else:
        _print_total(console, total)
    return 1 if total.rejected and not total.messages + total.known else 0


async def _sent(client: AsyncClient, part: Piece) -> Imported:
    """Send one piece, with retries. What was stored before an answer got lost is known the second time."""
    for attempt in range(ATTEMPTS):
        try:
            response = await client.post("/api/conversations/import", content=part.body)
        except httpx.TransportError as error:
            if attempt == ATTEMPTS - 1:
                raise Unavailable(f"The connection to the server was lost ({type(error).__name__}). {AGAIN}") from error
            await asyncio.sleep(2**attempt)
            continue
        if response.status_code not in (429, 503):
            return _read(response)
        await asyncio.sleep(float(response.headers.get("retry-after", "2")))
    raise Unavailable(f"The server does not take any more at present. {AGAIN}")


def _read(response: Response) -> Imported:
    if response.status_code == 202:
        return msgspec.json.decode(response.content, type=Imported)
    problem = response.json() if "json" in response.headers.get("content-type", "") else {}
    if response.status_code == 422 and (errors := problem.get("errors")):
        return Imported(0, 0, 0, [Rejected(each["path"], each["message"]) for each in errors])
    said = problem.get("detail") or problem.get("title") or f"it answered {response.status_code}"
    raise CoachError(f"The server refused the import: {said} {AGAIN}")


def _add(total: Imported, part: Piece, answer: Imported) -> None:
    total.messages += answer.messages
    total.known += answer.known
    total.rejected += [Rejected(part.in_file(each.path), each.message) for each in answer.rejected]


def _print_total(console: Console, total: Imported) -> None:
    known = f", {total.known:,} were there already" if total.known else ""
    console.print(f"{total.messages:,} messages of {total.conversations:,} conversations imported{known}.")
    for each in total.rejected[:SHOWN]:
        console.print(f"  left out: {each.path}: {each.message}", markup=False)
    if len(total.rejected) > SHOWN:
        console.print(f"  and {len(total.rejected) - SHOWN:,} more; --json lists them all")
    if total.messages:
        console.print("They are found by their words now; by their meaning when the worker has read them.")
