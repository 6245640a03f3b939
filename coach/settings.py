"""Every COACH_ variable, one line of meaning each. ``.env`` is read; the environment wins."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coach.errors import Misconfigured
from coach.postgres_url import without_pooler_parameters


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _must(holds: Callable[[str], object], message: str) -> AfterValidator:
    """The message says nothing of the value: it may be a secret."""

    def check(value: Any) -> Any:
        if not holds(value.get_secret_value() if isinstance(value, SecretStr) else value):
            raise ValueError(message)
        return value

    return AfterValidator(check)


def _whole_path(value: Path) -> Path:
    try:
        return value.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError("names a home directory that nobody has") from error


def _postgres_url(value: SecretStr) -> SecretStr:
    """Checked by psycopg itself. Its message about a broken URL may quote the password, so it is left out."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    url = value.get_secret_value()
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    url = without_pooler_parameters(url)
    try:
        parts = conninfo_to_dict(url)
    except Error:
        raise ValueError("is not a connection URL; in a password write @ as %40, / as %2F, : as %3A") from None
    ports = str(parts.get("port") or "").split(",")
    if "@" in str(parts.get("host")) or not all(port.isdigit() or not port for port in ports):
        raise ValueError("has no usable host and port; in a password write @ as %40, / as %2F, : as %3A")
    return SecretStr(url)


def _is_web_url(value: str) -> bool:
    return urlsplit(value).scheme in ("http", "https") and bool(urlsplit(value).netloc)


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origin = Annotated[
    str,
    _must(
        re.compile(r"https?://[^/\s*]+").fullmatch, "each must be scheme://host[:port], without a path or a wildcard"
    ),
]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
WebUrl = Annotated[str, _must(_is_web_url, "must be a http(s) URL")]
LongSecret = Annotated[SecretStr, _must(lambda secret: len(secret.encode()) >= 32, "must have at least 32 bytes")]
HeaderSecret = Annotated[
    SecretStr, _must(re.compile(r"[!-~]+").fullmatch, "must be of printable ASCII characters without a space")
]


def _setting(default: Any, meaning: str, example: str, **bounds: Any) -> Any:
    return Field(default, description=meaning, examples=[example], **bounds)


class ModelLimits(BaseModel):
    """What an operator may set of one model. ``first_token`` in seconds; ``answer_tokens`` hold its thoughts too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_token: Annotated[float, Field(gt=0, le=3_600)] | None = None
    answer_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a JSON object") from None


class Settings(BaseSettings):
    """What an operator may set. Secrets are ``SecretStr``: they never show in a repr, an error or a log."""

    model_config = SettingsConfigDict(
        env_prefix="COACH_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    home: Annotated[Path, AfterValidator(_whole_path)] = Field(
        default_factory=lambda: default_home(),  # noqa: PLW0108 - defined below
        description="where the embedded database lives",
        examples=["/var/lib/aurum-coach"],
    )
    database_url: PostgresUrl | None = _setting(
        None,
        "PostgreSQL >= 15 with pgvector; left out: embedded",
        "postgresql://coach_server:…@db.internal/postgres",
    )
    worker_database_url: PostgresUrl | None = _setting(
        None,
        "how the worker logs in; default COACH_DATABASE_URL",
        "postgresql://coach_worker:…@db.internal/postgres",
    )
    database_direct_url: PostgresUrl | None = _setting(
        None, "for LISTEN behind a transaction pooler", "postgresql://coach_server:…@db.internal:5432/postgres"
    )
    jwt_secret: LongSecret | None = _setting(
        None, "shared secret of HS256 tokens, 32 bytes or more", "the output of: openssl rand -base64 48"
    )
    jwks_url: WebUrl | None = _setting(
        None, "where ES256/RS256 keys are published", "https://project.example/auth/v1/.well-known/jwks.json"
    )
    jwt_issuer: str | None = _setting(None, "required `iss` of tokens", "https://project.example/auth/v1")
    jwt_audience: str = _setting("authenticated", "required `aud` of tokens", "authenticated")
    openai_api_key: HeaderSecret | None = _setting(
        None,
        "key of the provider; OPENAI_API_KEY is read too",
        "sk-…",
        validation_alias=AliasChoices("COACH_OPENAI_API_KEY", "OPENAI_API_KEY", "openai_api_key"),
    )
    openai_base_url: WebUrl | None = _setting(None, "any OpenAI-compatible endpoint", "http://127.0.0.1:11434/v1")
    chat_model: str = _setting("", "model that answers; default gpt-4o-mini with a key, else offline", "gpt-4o-mini")
    fallback_models: Names = _setting((), "models to try next, comma separated", "gpt-4o-mini,offline")
    model_limits: Annotated[dict[str, ModelLimits], NoDecode, BeforeValidator(_json_object)] = _setting(
        {},
        "patience and length of single models, as JSON",
        '{"qwen3:8b": {"first_token": 300, "answer_tokens": 32000}}',
    )
    embedding_model: str = _setting("", "default text-embedding-3-small with a key, else wordllama", "wordllama")
    allowed_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = _setting(
        (), "browser origins that may call, comma separated", "https://app.example,http://localhost:5173"
    )
    monthly_limit: int = _setting(250, "turns a user has each month", "250", ge=0, le=1_000_000)
    turn_timeout: float = _setting(600.0, "seconds after which a turn is ended", "600", gt=0, le=86_400)
    turns_at_once: int = _setting(8, "turns of one user that may run at once", "8", ge=1, le=1_000)
    answer_max_tokens: int = _setting(32_000, "tokens after which an answer is ended", "32000", ge=1, le=10_000_000)
    answer_max_bytes: int = _setting(256_000, "bytes after which an answer is ended", "256000", ge=1, le=10_000_000)
    metrics_token: HeaderSecret | None = _setting(
        None, "bearer token of /metrics", "the output of: openssl rand -hex 24"
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "the least that is logged", "info")
    drain_grace: float = _setting(20.0, "seconds a shutdown lets running turns finish", "20", ge=0, le=3_600)
    head_timeout: float = _setting(15.0, "seconds in which the head of a request has to be there", "15", gt=0, le=3_600)
    body_timeout: float = _setting(
        30.0, "seconds for a request's body, and one more for each KiB of it", "30", gt=0, le=3_600
    )
    idle_timeout: float = _setting(
        30.0, "seconds after which a connection without a request is closed", "30", gt=0, le=3_600
    )
    pool_size: int = _setting(10, "database connections of one server process", "10", ge=2, le=500)

    @property
    def has_provider(self) -> bool:
        return self.openai_api_key is not None or self.openai_base_url is not None

    @property
    def chat_model_name(self) -> str:
        return self.chat_model or ("gpt-4o-mini" if self.has_provider else "offline")

    @property
    def embedding_model_name(self) -> str:
        return self.embedding_model or ("text-embedding-3-small" if self.has_provider else "wordllama")


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process.

    :raises Misconfigured: in one line: the variable, what was wrong, an example. Never the value: it may be a secret.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]).lower().removeprefix("coach_")
        what = first["msg"].removeprefix("Value error, ")
        variable = variable_of(field)
        example = (Settings.model_fields[field].examples or [""])[0]
        raise Misconfigured(f"{variable}: {what}. Example: {variable}={example}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{Path('.env').absolute()} cannot be read ({type(error).__name__}).") from None


def variable_of(field: str) -> str:
    return f"COACH_{field.upper()}"


def misspelt() -> list[str]:
    """A line for each COACH_ variable that nothing reads. A typo would silently leave the default in force."""
    known = {variable_of(field) for field in Settings.model_fields} | {"COACH_TOKEN"}
    file = Path(".env")
    names = {*os.environ, *(dotenv_values(file) if file.is_file() else ())}
    lines = []
    for name in sorted(name for name in names if name.upper().startswith("COACH_") and name.upper() not in known):
        near = get_close_matches(name.upper(), known, 1, 0.8)
        lines.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return lines


def default_home() -> Path:
    """Per-user data, or as root a place of its own: the embedded server must never open up ``/root``."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/aurum-coach")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "aurum-coach"
