"""Every COACH_ variable, one line of meaning each. ``.env`` is read; the environment wins."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from coach.errors import Misconfigured

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """What an operator may set. Secrets are ``SecretStr``: they never show in a repr, an error or a log."""

    model_config = SettingsConfigDict(
        env_prefix="COACH_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=lambda: default_home(), description="where the embedded database lives")  # noqa: PLW0108 - defined below
    database_url: SecretStr | None = Field(None, description="PostgreSQL >= 15 with pgvector; left out: embedded")
    worker_database_url: SecretStr | None = Field(
        None, description="how the worker logs in; default COACH_DATABASE_URL"
    )
    database_direct_url: SecretStr | None = Field(None, description="for LISTEN behind a transaction pooler")
    jwt_secret: SecretStr | None = Field(None, description="shared secret of HS256 tokens, 32 bytes or more")
    jwks_url: str | None = Field(None, description="where ES256/RS256 keys are published")
    jwt_issuer: str | None = Field(None, description="required `iss` of tokens")
    jwt_audience: str = Field("authenticated", description="required `aud` of tokens")
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("COACH_OPENAI_API_KEY", "OPENAI_API_KEY", "openai_api_key"),
        description="key of the provider; OPENAI_API_KEY is read too",
    )
    openai_base_url: str | None = Field(None, description="any OpenAI-compatible endpoint")
    chat_model: str = Field("", description="model that answers; default gpt-4o-mini with a key, else offline")
    fallback_models: Names = Field((), description="models to try next, comma separated")
    embedding_model: str = Field("", description="default text-embedding-3-small with a key, else wordllama")
    allowed_origins: Names = Field((), description="browser origins that may call, comma separated")
    monthly_limit: int = Field(250, ge=0, le=1_000_000, description="turns a user has each month")
    turn_timeout: float = Field(600.0, gt=0, le=86_400, description="seconds after which a turn is ended")
    metrics_token: SecretStr | None = Field(None, description="bearer token of /metrics")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")
    drain_grace: float = Field(20.0, ge=0, le=3_600, description="seconds a shutdown lets running turns finish")
    pool_size: int = Field(10, ge=2, le=500, description="database connections of one server process")

    @field_validator("fallback_models", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError("each must be scheme://host[:port], without a path or a wildcard")
        return value

    @field_validator("home")
    @classmethod
    def _whole_path(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("names a home directory that nobody has") from error

    @field_validator("database_url", "worker_database_url", "database_direct_url")
    @classmethod
    def _postgres_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_postgres_url(value.get_secret_value())
        return value

    @field_validator("jwks_url", "openai_base_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
            raise ValueError("must be a http(s) URL")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("must have at least 32 bytes")
        return value

    @field_validator("openai_api_key", "metrics_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("must be of printable ASCII characters without a space")
        return value

    @property
    def has_provider(self) -> bool:
        return self.openai_api_key is not None or self.openai_base_url is not None

    @property
    def chat_model_name(self) -> str:
        return self.chat_model or ("gpt-4o-mini" if self.has_provider else "offline")

    @property
    def embedding_model_name(self) -> str:
        return self.embedding_model or ("text-embedding-3-small" if self.has_provider else "wordllama")


EXAMPLES = {
    "home": "/var/lib/aurum-coach",
    "database_url": "postgresql://coach_server:…@db.internal/postgres",
    "worker_database_url": "postgresql://coach_worker:…@db.internal/postgres",
    "database_direct_url": "postgresql://coach_server:…@db.internal:5432/postgres",
    "jwt_secret": "the output of: openssl rand -base64 48",
    "jwks_url": "https://project.example/auth/v1/.well-known/jwks.json",
    "jwt_issuer": "https://project.example/auth/v1",
    "jwt_audience": "authenticated",
    "openai_api_key": "sk-…",
    "openai_base_url": "http://127.0.0.1:11434/v1",
    "chat_model": "gpt-4o-mini",
    "embedding_model": "wordllama",
    "fallback_models": "gpt-4o-mini,offline",
    "allowed_origins": "https://app.example,http://localhost:5173",
    "monthly_limit": "250",
    "turn_timeout": "600",
    "metrics_token": "the output of: openssl rand -hex 24",
    "log_level": "info",
    "drain_grace": "20",
    "pool_size": "10",
}


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
        raise Misconfigured(f"{variable}: {what}. Example: {variable}={EXAMPLES[field]}") from None
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


def _check_postgres_url(url: str) -> None:
    """Checked by psycopg itself. Its message about a broken URL may quote the password, so it is left out."""
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    try:
        parts = conninfo_to_dict(url)
    except Error:
        raise ValueError("is not a connection URL; in a password write @ as %40, / as %2F, : as %3A") from None
    ports = str(parts.get("port") or "").split(",")
    if "@" in str(parts.get("host")) or not all(port.isdigit() or not port for port in ports):
        raise ValueError("has no usable host and port; in a password write @ as %40, / as %2F, : as %3A")


def default_home() -> Path:
    """Per-user data, or as root a place of its own: the embedded server must never open up ``/root``."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/aurum-coach")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "aurum-coach"
