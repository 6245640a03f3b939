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
