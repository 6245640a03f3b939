"""``coach doctor``: what is configured, what works, and what to do about the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from rich.console import Console

from coach.database.migrations import pending
from coach.database.opening import owned
from coach.errors import CoachError, Misconfigured
from coach.identity.secret import shared_secret
from coach.settings import Settings, load_settings, misspelt, variable_of


class Finding(Struct, frozen=True):
    """One check. ``remedy`` says what to do if it failed."""

    name: str
    fine: bool
    detail: str
    remedy: str = ""


Check = Callable[[Settings], Awaitable[Finding]]


async def run(as_json: bool) -> int:
    """Look at everything; returns the exit code: 1 if anything needs doing."""
    settings = load_settings()
    findings = [await _carefully(check, settings) for check in CHECKS]
    if as_json:
        sys.stdout.write(msgspec.json.encode(findings).decode() + "\n")
    else:
        _print(findings)
    return 0 if all(finding.fine for finding in findings) else 1


async def _carefully(check: Check, settings: Settings) -> Finding:
    try:
        return await check(settings)
    except CoachError as error:
        name = check.__name__.strip("_").replace("_", " ")
        what = "Set what the line names" if isinstance(error, Misconfigured) else "See that it can be reached from here"
        return Finding(name, False, str(error), f"{what}. Then run coach doctor again.")


async def _settings(settings: Settings) -> Finding:
    if typos := misspelt():
        return Finding("settings", False, " ".join(typos), "Correct the name, or remove it.")
    given = sorted(settings.model_fields_set)
    return Finding("settings", True, ", ".join(map(variable_of, given)) or "nothing is set; all defaults")


async def _database(settings: Settings) -> Finding:
    kind = "PostgreSQL by COACH_DATABASE_URL" if settings.database_url else f"embedded, under {settings.home}"
    async with owned(settings) as url:
        waiting = await pending(url)
        async with await AsyncConnection.connect(url) as connection:
            version = connection.info.server_version // 10_000
            row = await (
                await connection.execute("select extversion from pg_extension where extname = 'vector'")
            ).fetchone()
    detail = f"{kind}; PostgreSQL {version}, pgvector {row[0] if row else 'not installed yet'}"
    if not waiting:
        return Finding("database", True, detail)
    is_embedded = settings.database_url is None
    remedy = "The next start applies them." if is_embedded else "coach migrate"
    return Finding("database", is_embedded, f"{detail}; {len(waiting)} files of sql/ wait", remedy)


async def _sign_in(settings: Settings) -> Finding:
    ways = [f"JWKS at {settings.jwks_url}"] if settings.jwks_url else []
    if shared_secret(settings) is not None:
        ways.append("a shared secret" if settings.jwt_secret else f"a secret of its own in {settings.home}/jwt-secret")
    return Finding("sign in", True, " and ".join(ways))


async def _model(settings: Settings) -> Finding:
    from coach.models.base import ChatMessage, Completion
    from coach.models.configure import Models

    name, models = settings.chat_model_name, Models(settings)
    answered = ""
    try:
        async for piece in models.default.stream([ChatMessage("user", "Say: ready")]):
            if isinstance(piece, Completion):
                answered = piece.model
    finally:
        await models.aclose()
    if name == "offline":
        detail = "offline, a stand-in that answers from your data without a language model"
        return Finding("model", True, detail, "For a real one set COACH_OPENAI_API_KEY or COACH_OPENAI_BASE_URL.")
    return Finding("model", True, f"{name} answers" + (f" (through {answered})" if answered != name else ""))


async def _embedder(settings: Settings) -> Finding:
    from coach.retrieval.embedders import build_embedder

    embedder = build_embedder(settings)
    try:
        vector = await embedder.embed_query("ready")
    finally:
        await embedder.aclose()
    return Finding("embedder", True, f"{embedder.model}, {vector.shape[0]} dimensions stored")


async def _tokens(settings: Settings) -> Finding:
    from coach.models.tokens import encoding_for

    if encoding_for(settings.chat_model_name) is not None:
        return Finding("token counts", True, "exact, by tiktoken")
    where = os.environ.get("TIKTOKEN_CACHE_DIR", "its cache directory")
    detail = f"an upper bound from bytes: tiktoken's ranks are not in {where}"
    return Finding("token counts", True, detail, "Harmless, if coarse.")


CHECKS: tuple[Check, ...] = (_settings, _database, _sign_in, _model, _embedder, _tokens)


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    for finding in findings:
        mark = "[green]✓[/green]" if finding.fine else "[red]✗[/red]"
        console.print(f"{mark} [bold]{finding.name}[/bold]: ", end="")
        console.print(finding.detail, markup=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"  → {finding.remedy}", style="dim", markup=False, soft_wrap=True)
