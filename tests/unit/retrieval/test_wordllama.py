"""The default embedder: offline, of one mind about the same text, robust against any."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from coach.errors import Misconfigured
from coach.retrieval.base import DIMENSIONS
from coach.retrieval.embedders import build_embedder
from coach.retrieval.openai import OpenAIEmbedder
from coach.retrieval.wordllama import WordllamaEmbedder
from coach.settings import Settings


@pytest.fixture(scope="module")
def embedder() -> WordllamaEmbedder:
    return WordllamaEmbedder()


async def test_what_means_the_same_is_nearer_than_what_does_not(embedder: WordllamaEmbedder) -> None:
    knee, mri, tax = await embedder.embed_documents(
        ["My knee hurts after running", "Book the scan of the injured leg", "Send the tax return to the office"]
    )

    assert knee @ mri > knee @ tax


async def test_a_question_is_embedded_as_a_document_is(embedder: WordllamaEmbedder) -> None:
    text = "When did I last sleep well?"

    query, documents = await embedder.embed_query(text), await embedder.embed_documents([text, "Something else"])

    assert query.shape == (DIMENSIONS,)
    assert documents.shape == (2, DIMENSIONS)
    np.testing.assert_allclose(query, documents[0], atol=1e-6)


async def test_a_batch_of_many_gives_what_each_alone_gives(embedder: WordllamaEmbedder) -> None:
    texts = [f"Message {number} about the knee and the race" for number in range(400)]

    together = await embedder.embed_documents(texts)

    assert together.shape == (400, DIMENSIONS)
    np.testing.assert_allclose(together[311], await embedder.embed_query(texts[311]), atol=1e-6)


@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "🏃‍♀️", "x" * 32_000, "مرحبا", "'; drop table tasks; --"])
async def test_any_text_becomes_a_unit_vector(embedder: WordllamaEmbedder, text: str) -> None:
    vector = await embedder.embed_query(text)

    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


async def test_a_very_long_text_takes_little_memory_and_means_what_its_half_means(embedder: WordllamaEmbedder) -> None:
    half = "My knee hurts after running. " * 8_192

    tracemalloc.start()
    short, long = await embedder.embed_query(half), await embedder.embed_query(half + half)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    np.testing.assert_allclose(short, long, atol=1e-5)
    assert peak < 60 * 1024**2


async def test_no_texts_are_no_vectors(embedder: WordllamaEmbedder) -> None:
    assert (await embedder.embed_documents([])).shape == (0, DIMENSIONS)


def test_loading_leaves_this_process_log_alone() -> None:
    """wordllama calls logging.basicConfig as it is imported."""
    script = (
        "import logging; from coach.retrieval.wordllama import import_quietly; import_quietly();"
        "root = logging.getLogger(); assert not root.handlers and root.level == logging.WARNING, root.handlers"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_the_embedders_loads_no_model_and_no_langchain() -> None:
    script = (
        "import sys, coach.retrieval.embedders;"
        "heavy = {'wordllama', 'langchain', 'langchain_openai', 'openai', 'tokenizers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_settings_choose_the_embedder() -> None:
    with_key = Settings(openai_api_key="sk-test", _env_file=None)
    forced = Settings(openai_api_key="sk-test", embedding_model="wordllama", _env_file=None)

    assert build_embedder(Settings(_env_file=None)).model == "wordllama"
    assert build_embedder(with_key).model == "text-embedding-3-small"
    assert isinstance(build_embedder(with_key), OpenAIEmbedder)
    assert isinstance(build_embedder(forced), WordllamaEmbedder)


def test_a_model_of_a_provider_without_the_provider_is_a_clear_mistake() -> None:
    with pytest.raises(Misconfigured, match=r"COACH_EMBEDDING_MODEL.*COACH_OPENAI_API_KEY.*Example"):
        build_embedder(Settings(embedding_model="nomic-embed-text", _env_file=None))
