"""From settings to models. The only place that knows which name means which implementation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol, Self

from pydantic import SecretStr

from coach.errors import Misconfigured
from coach.models import offline
from coach.models.base import ChatModel
from coach.models.fallback import FallbackModel


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
    from coach.models.openai_upstream import Timeouts

    timeouts = Timeouts(total=settings.turn_timeout)
    return OpenAIModel(name, api_key=settings.openai_api_key, base_url=settings.openai_base_url, timeouts=timeouts)


def _connect_langchain(name: str, provider: str, settings: ModelSettings) -> ChatModel:
    from coach.models.langchain import connect_langchain, connect_openai
    from coach.models.openai_upstream import Timeouts

    variable = _variable(name, settings)
    timeouts = Timeouts(total=settings.turn_timeout)
    if provider == "openai":
        if settings.openai_api_key is None:
            raise Misconfigured(f"{variable}: {name} needs COACH_OPENAI_API_KEY. Example: {variable}=offline")
        return connect_openai(name, timeouts, api_key=settings.openai_api_key, base_url=settings.openai_base_url)
    try:
        return connect_langchain(name, timeouts)
    except ImportError as error:
        raise Misconfigured(f"{variable}: {name}: {error}. Example: {variable}=gpt-4o-mini") from None
    except ValueError:
        raise Misconfigured(
            f"{variable}: LangChain cannot make {name}; is the provider's own key variable set? "
            f"Example: {variable}=anthropic:claude-sonnet-4-5 with ANTHROPIC_API_KEY"
        ) from None


def _variable(name: str, settings: ModelSettings) -> str:
    return "COACH_CHAT_MODEL" if name == settings.chat_model_name else "COACH_FALLBACK_MODELS"
