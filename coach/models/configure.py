"""From settings to models. The only place that knows which name means which implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Protocol, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from coach.errors import Misconfigured
from coach.models import offline
from coach.models.base import ChatModel
from coach.models.fallback import FallbackModel
from coach.models.timeouts import PATIENT, Timeouts
from coach.settings import ModelLimits

LOADING_PATIENCE = 120.0
"""Seconds to the first token of a model that may have to be loaded."""
_LOCAL_ENDINGS = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


class ModelSettings(Protocol):
    """What ``coach.settings.Settings`` says about models."""

    @property
    def chat_model_name(self) -> str: ...
    @property
    def fallback_models(self) -> tuple[str, ...]: ...
    @property
    def openai_api_key(self) -> SecretStr | None: ...
    @property
    def openai_base_url(self) -> str | None: ...
    @property
    def model_limits(self) -> Mapping[str, ModelLimits]: ...
    @property
    def turn_timeout(self) -> float: ...


_PROVIDERS = frozenset((
    "anthropic", "anthropic_bedrock", "azure_ai", "azure_openai", "baseten", "bedrock", "bedrock_converse", "cohere",
    "deepseek", "fireworks", "google_anthropic_vertex", "google_genai", "google_vertexai", "groq", "huggingface", "ibm",
    "litellm", "meta", "mistralai", "nvidia", "ollama", "openai", "openrouter", "perplexity", "together", "upstage",
    "xai",
))  # fmt: skip
"""What ``init_chat_model`` knows. Anything else before a colon is the endpoint's own, as in ``llama3:8b``."""


class Models(dict[str, FallbackModel]):
    """The models a request may name, the default first. Each goes on to those behind it until one begins to answer.

    They connect at the first call, since their imports take seconds and a worker seldom makes one.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._connected: list[ChatModel] = []
        names = tuple(dict.fromkeys((settings.chat_model_name, *settings.fallback_models)))
        super().__init__({name: FallbackModel(name, partial(self._behind, at)) for at, name in enumerate(names)})

    @property
    def default(self) -> ChatModel:
        return next(iter(self.values()))

    def connect(self) -> Self:
        """Make those that are not made yet.

        :raises Misconfigured: a name needs a key or a package that is not there.
        """
        self._connected = self._connected or [_connect(name, self._settings) for name in self]
        return self

    def _behind(self, place: int) -> Sequence[ChatModel]:
        return self.connect()._connected[place:]

    async def aclose(self) -> None:
        """Close those that have been made."""
        for model in self._connected:
            await model.aclose()


def _connect(name: str, settings: ModelSettings) -> ChatModel:
    """LangChain is imported here, and only for models that need it."""
    if name == offline.NAME:
        return offline.OfflineModel()
    provider, colon, _ = name.partition(":")
    if colon and provider in _PROVIDERS:
        return _connect_langchain(name, provider, settings)
    if settings.openai_api_key is None and settings.openai_base_url is None:
        raise Misconfigured(
            f"{_variable(name, settings)}: {name} needs COACH_OPENAI_API_KEY or COACH_OPENAI_BASE_URL. "
            f"Example: {_variable(name, settings)}=offline"
        )
    from coach.models.openai import OpenAIModel

    may_load = is_local(settings.openai_base_url)
    return OpenAIModel(
        name,
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeouts=_timeouts(name, settings, may_load=may_load),
        ceiling=_limits(name, settings).answer_tokens,
        may_load=may_load,
    )


def _connect_langchain(name: str, provider: str, settings: ModelSettings) -> ChatModel:
    from coach.models.langchain import connect_langchain, connect_openai

    variable, ceiling = _variable(name, settings), _limits(name, settings).answer_tokens
    if provider == "openai":
        if settings.openai_api_key is None:
            raise Misconfigured(f"{variable}: {name} needs COACH_OPENAI_API_KEY. Example: {variable}=offline")
        base_url = settings.openai_base_url
        timeouts = _timeouts(name, settings, may_load=is_local(base_url))
        return connect_openai(name, timeouts, ceiling, api_key=settings.openai_api_key, base_url=base_url)
    try:
        return connect_langchain(name, _timeouts(name, settings, may_load=provider == "ollama"), ceiling)
    except ImportError as error:
        raise Misconfigured(f"{variable}: {name}: {error}. Example: {variable}=gpt-4o-mini") from None
    except ValueError:
        raise Misconfigured(
            f"{variable}: LangChain cannot make {name}; is the provider's own key variable set? "
            f"Example: {variable}=anthropic:claude-sonnet-4-5 with ANTHROPIC_API_KEY"
        ) from None


def _limits(name: str, settings: ModelSettings) -> ModelLimits:
    return settings.model_limits.get(name, ModelLimits())


def _timeouts(name: str, settings: ModelSettings, *, may_load: bool) -> Timeouts:
    default = LOADING_PATIENCE if may_load else PATIENT.first_token
    return Timeouts(first_token=_limits(name, settings).first_token or default, total=settings.turn_timeout)


def is_local(url: str | None) -> bool:
    """Whether an address is of this machine or its network: a model there may have to be loaded first."""
    host = (urlsplit(url).hostname or "") if url else ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_LOCAL_ENDINGS))


def _variable(name: str, settings: ModelSettings) -> str:
    return "COACH_CHAT_MODEL" if name == settings.chat_model_name else "COACH_FALLBACK_MODELS"
