"""Embeddings of any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from coach.errors import EmbedderUnavailable
from coach.retrieval.base import DIMENSIONS, Vector
from coach.retrieval.lift import lift

if TYPE_CHECKING:
    from langchain_openai import OpenAIEmbeddings

TEXT_BYTES = 24_000
"""What is sent of one text. Models take 8,191 tokens; hardly any text has more than one token in three bytes."""
REQUEST_BYTES = 600_000
DEFAULT_PAUSE, LONGEST_PAUSE = 2.0, 300.0
REQUEST_TEXTS = 256
"""OpenAI takes 300,000 tokens and 2,048 texts a request, others less."""


class Embedding(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class Embeddings(msgspec.Struct):
    data: list[Embedding]


class OpenAIEmbedder:
    """Vectors by ``langchain_openai.OpenAIEmbeddings``, which holds configuration and client.

    The answer is decoded here and not by the wrapper, which takes any shape for granted: a missing vector would shift
    all that follow onto other texts. Answers narrower than ``DIMENSIONS`` are lifted or padded (``lift``).
    """

    def __init__(
        self,
        model: str,
        api_key: SecretStr | None,
        base_url: str | None = None,
        *,
        timeout: float = 20.0,
        attempts: int = 3,
    ) -> None:
        self.model = model
        self._api_key, self._base_url = api_key, base_url
        self._timeout, self._attempts = timeout, attempts
        self._client: OpenAIEmbeddings | None = None

    async def embed_query(self, text: str) -> Vector:
        rows = await self.embed_documents([text])
        return rows.reshape(-1)

    async def embed_documents(self, texts: Sequence[str]) -> Vector:
        parts = [await self._embed(batch) for batch in batches(texts)]
        return np.concatenate(parts) if parts else np.empty((0, DIMENSIONS), np.float32)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.async_client._client.close()
            self._client = None

    async def _embed(self, texts: list[str]) -> Vector:
        import openai
        import stamina

        client = await self.connect()
        try:
            async for attempt in stamina.retry_context(
                on=worth_retrying, attempts=self._attempts, wait_initial=0.2, wait_max=2.0, timeout=self._timeout
            ):
                with attempt:
                    answer = await client.async_client.with_raw_response.create(
                        input=texts, **client._invocation_params
                    )
        except openai.APIStatusError as error:
            raise EmbedderUnavailable(
                f"The embedder {self.model} answered with {error.status_code}.",
                retry_after=wanted_pause(error.response.headers.get("retry-after"), error.status_code),
                is_refusal=error.status_code in (401, 402, 403, 404),
                is_about_text=error.status_code in (400, 413, 422),
            ) from error
        except openai.APITimeoutError as error:
            raise EmbedderUnavailable(f"The embedder {self.model} did not answer in time.") from error
        except openai.APIError as error:
            raise EmbedderUnavailable(f"The embedder {self.model} could not be reached.") from error
        return await asyncio.to_thread(decode, answer.content, len(texts), self.model)

    async def connect(self) -> OpenAIEmbeddings:
        """Made on first use, off the event loop: importing LangChain takes seconds."""
        if self._client is None:
            self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> OpenAIEmbeddings:
        import openai
        from langchain_openai import OpenAIEmbeddings

        return OpenAIEmbeddings(
            model=self.model,
            # Only these models can be asked for a width; others refuse the parameter.
            dimensions=DIMENSIONS if self.model.startswith("text-embedding-3") else None,
            api_key=self._api_key or SecretStr("none"),
            base_url=self._base_url,
            max_retries=0,
            timeout=self._timeout,
            # A redirect would take key and text to wherever it points.
            http_async_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
            check_embedding_ctx_length=False,
        )


def worth_retrying(error: Exception) -> bool:
    """Time-outs, broken connections, 408, 409, 429 and 5xx; asking again does not help with the rest.

    It does not help either if the provider names a time to wait: that is for the caller.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        if error.status_code in (429, 503) and "retry-after" in error.response.headers:
            return False
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def wanted_pause(retry_after: str | None, status: int) -> float | None:
    """How long a provider asks us to wait, in seconds; a guess if the header cannot be read."""
    if status not in (429, 503) or (status == 503 and retry_after is None):
        return None
    try:
        return min(max(float(retry_after or ""), 0.0), LONGEST_PAUSE)
    except ValueError:
        return DEFAULT_PAUSE


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """``texts`` in requests of a size that providers take; an endpoint refuses an empty text, so it becomes a space."""
    batch: list[str] = []
    size = 0
    for text in texts:
        cut = text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore") or " "
        if batch and (size + len(cut) > REQUEST_BYTES or len(batch) == REQUEST_TEXTS):
            yield batch
            batch, size = [], 0
        batch.append(cut)
        size += len(cut)
    if batch:
        yield batch


def decode(content: bytes, count: int, model: str) -> Vector:
    """The vectors of one answer, in the order of the texts.

    :raises EmbedderUnavailable: anything but ``count`` vectors of one width; says what came instead.
    """
    try:
        rows = msgspec.json.decode(content, type=Embeddings).data
        vectors = [numbers(row.embedding) for row in sorted(rows, key=lambda row: row.index or 0)]
    except (msgspec.DecodeError, ValueError) as error:
        raise EmbedderUnavailable(f"The embedder {model} answered in a shape that is no list of vectors.") from error
    if len(vectors) != count:
        raise EmbedderUnavailable(f"The embedder {model} answered with {len(vectors)} vectors for {count} texts.")
    widths = {len(vector) for vector in vectors}
    if len(widths) > 1:
        raise EmbedderUnavailable(f"The embedder {model} answered with vectors of different widths.")
    return lift(np.stack(vectors), model)


def numbers(embedding: list[float] | str) -> NDArray[np.float32]:
    """A vector as it came: float32 in base64, as was asked for, or a list from an endpoint that knows no other."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    return np.asarray(embedding, np.float32)
