"""Which embedder the settings ask for."""

from __future__ import annotations

from coach.errors import Misconfigured
from coach.retrieval.base import Embedder
from coach.retrieval.openai import OpenAIEmbedder
from coach.retrieval.wordllama import NAME, WordllamaEmbedder
from coach.settings import Settings


def build_embedder(settings: Settings) -> Embedder:
    """wordllama, or the named model of the configured provider.

    :raises Misconfigured: a provider's model without a provider.
    """
    name = settings.embedding_model_name
    if name == NAME:
        return WordllamaEmbedder()
    if not settings.has_provider:
        raise Misconfigured(
            f"COACH_EMBEDDING_MODEL: {name!r} needs COACH_OPENAI_API_KEY or COACH_OPENAI_BASE_URL."
            f" Example: COACH_EMBEDDING_MODEL={NAME}"
        )
    return OpenAIEmbedder(name, settings.openai_api_key, settings.openai_base_url)


class Embedders:
    """The embedder of any model's name, as far as the settings can have it: while one model replaces another, both are
    asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._built: dict[str, Embedder | None] = {}

    def __call__(self, model: str) -> Embedder | None:
        """None where it needs a provider and there is none."""
        if model not in self._built:
            try:
                self._built[model] = build_embedder(self._settings.model_copy(update={"embedding_model": model}))
            except Misconfigured:
                self._built[model] = None
        return self._built[model]

    async def aclose(self) -> None:
        for embedder in filter(None, self._built.values()):
            await embedder.aclose()
