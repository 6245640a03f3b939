"""``coach chat``: a conversation in the terminal, over the same stream that every chat UI reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from httpx import AsyncClient, Response
from rich.console import Console

from coach.commands.token import make_token
from coach.errors import CoachError, Unavailable
from coach.settings import load_settings

_HELP = "Enter sends. Ctrl-C stops an answer, Ctrl-D or /quit leaves."


async def run(url: str, name: str, token: str | None, feature: str, question: str | None) -> int:
    """Ask one question, or chat until the user leaves; returns the exit code."""
    console = Console(highlight=False)
    async with await signed_in(url, name, token, httpx.Timeout(30, read=None)) as client:
        talk = TerminalChat(client, console, feature)
        if question is not None:
            return 0 if await talk.ask(question) else 1
        console.print(f"[dim]{_HELP}[/dim]")
        while (text := await _line(console)) not in (None, "/quit"):
            if text:
                await talk.ask(text)
    return 0


class TerminalChat:
    """One conversation in the terminal."""

    def __init__(self, client: AsyncClient, console: Console, feature: str) -> None:
        self._client, self._console, self._feature = client, console, feature
        self._id = f"terminal-{uuid4().hex[:12]}"

    async def ask(self, text: str) -> bool:
        """Print the answer as it comes, then its sources. False: there was none."""
        message = {"id": f"m-{uuid4().hex}", "role": "user", "parts": [{"type": "text", "text": text}]}
        body = {"id": self._id, "messages": [message], "trigger": "submit-message", "feature": self._feature}
        try:
            async with self._client.stream("POST", "/api/chat", json=body) as response:
                if response.status_code != 200:
                    return await self._refused(response)
                return await self._show(response)
        except asyncio.CancelledError:
            await self._client.post(f"/api/chat/{self._id}/stop")
            raise
        except httpx.TransportError as error:
            raise Unavailable(f"The connection to the server was lost ({type(error).__name__}).") from error

    async def _show(self, response: Response) -> bool:
        sources: list[dict[str, Any]] = []
        quota: dict[str, Any] = {}
        answered = False
        async for part in _parts(response):
            match part["type"]:
                case "text-delta":
                    self._console.print(part["delta"], end="", markup=False)
                case "source-document":
                    sources.append(part)
                case "data-quota":
                    quota = part["data"]
                case "error":
                    self._console.print(f"\n[red]{part['errorText']}[/red]")
                case "finish":
                    answered = True
        self._console.print()
        for number, source in enumerate(sources, 1):
            about = source["providerMetadata"]["coach"]
            self._console.print(
                f"  [{number}] {source['title']} · {about['domain']} · {about['updated_at'][:10]}",
                style="dim",
                markup=False,
            )
        if quota.get("warning"):
            self._console.print(f"[yellow]{quota['used']} of {quota['limit']} turns used this month.[/yellow]")
        return answered

    async def _refused(self, response: Response) -> bool:
        await response.aread()
        try:
            problem = response.json()
            said = problem.get("detail") or problem.get("title")
        except ValueError:
            said = f"the server answered {response.status_code}"
        self._console.print(f"[red]{said}[/red]")
        return False


async def _parts(response: Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a UI message stream."""
    async for line in response.aiter_lines():
        if line.startswith("data: {"):
            yield msgspec.json.decode(line.removeprefix("data: "))


async def _line(console: Console) -> str | None:
    """The line that the user typed; None at the end of input."""
    try:
        return (await asyncio.to_thread(console.input, "\n[bold]you ›[/bold] ")).strip()
    except EOFError:
        return None


async def signed_in(url: str, name: str, token: str | None, timeout: httpx.Timeout) -> AsyncClient:
    """A client of the server at ``url``, with ``token`` or one that is made for ``name``.

    Without a server the advice is to start one, so this is checked before a token is made.
    """
    try:
        async with AsyncClient(base_url=url, timeout=3) as client:
            await client.get("/health/live")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise CoachError(f"No coach answers at {url}; start one with: coach demo") from error
    if token is None:
        token = await make_token(load_settings(), name, "authenticated", timedelta(hours=8))
    return AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout)
