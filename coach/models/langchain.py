"""Any LangChain chat model behind our seam: other providers by ``provider:model``, or one that is handed in.

Costs LangChain's 316-455 µs a chunk; OpenAI-compatible endpoints have a way of their own (``coach.models.openai``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

import msgspec
import structlog
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage

from coach.errors import ModelUnavailable
from coach.models import tokens
from coach.models.base import (
    AS_THE_MODEL_LIKES,
    ChatMessage,
    Completion,
    Delta,
    FinishReason,
    ModelOptions,
    Piece,
    Usage,
)
from coach.models.openai_upstream import PATIENT, Timeouts

log = structlog.get_logger(__name__)

_UNKNOWN_CONTEXT = 16_384
_KINDS: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
_REASONS: dict[str, FinishReason] = {
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "STOP": "stop",
    "length": "length", "max_tokens": "length", "MAX_TOKENS": "length",
    "content_filter": "content-filter", "content-filter": "content-filter", "refusal": "content-filter",
    "SAFETY": "content-filter",
}  # fmt: skip


def connect_openai(name: str, timeouts: Timeouts = PATIENT, **configuration: Any) -> LangChainModel:
    """``openai:model`` with a client that is closed with it; LangChain's own is shared by address and never closed."""
    import openai

    client = openai.DefaultAsyncHttpxClient()
    connected = connect_langchain(name, timeouts, http_async_client=client, **configuration)
    connected.own(client.aclose)
    return connected


def connect_langchain(name: str, timeouts: Timeouts = PATIENT, **configuration: Any) -> LangChainModel:
    """``provider:model``, as ``init_chat_model`` reads it; keys come from the provider's own variables.

    :raises ImportError: where the provider's package is missing
    :raises ValueError: where it has no key
    """
    from langchain.chat_models import init_chat_model

    return LangChainModel(name, init_chat_model(name, **configuration), timeouts)


class LangChainModel:
    """A ``ChatModel`` over ``BaseChatModel.astream``. Retries are the wrapped model's own."""

    def __init__(self, name: str, chat: BaseChatModel, timeouts: Timeouts = PATIENT) -> None:
        self._name = name
        self._chat = chat
        self._timeouts = timeouts
        self._owned = AsyncExitStack()
        tokens.encoding_for(name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens(self) -> int:
        profile: Mapping[str, Any] = self._chat.profile or {}
        return int(profile.get("max_input_tokens") or _UNKNOWN_CONTEXT)

    def count_tokens(self, text: str) -> int:
        return tokens.count(text, self._name)

    def own(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close this with the model. Other clients LangChain keeps to itself until the process ends."""
        self._owned.push_async_callback(close)

    async def aclose(self) -> None:
        await self._owned.aclose()

    async def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Piece, None]:
        loop = asyncio.get_running_loop()
        cancelled_before = _cancellations()
        deadline = loop.time() + self._timeouts.total
        patience = self._timeouts.first_token
        written: list[str] = []
        usage: Usage | None = None
        reason: FinishReason = "other"
        spoken = [_KINDS[message.role](content=message.content) for message in messages]
        streamed = cast(
            "AsyncGenerator[AIMessageChunk, None]", self._chat.astream(spoken, **msgspec.to_builtins(options))
        )
        async with aclosing(streamed) as chunks:
            while (chunk := await self._next_chunk(chunks, min(loop.time() + patience, deadline))) is not None:
                # Python 3.11's wait_for, which providers' packages use, drops a cancellation that meets a chunk.
                if _cancellations() > cancelled_before:
                    raise asyncio.CancelledError
                text = str(chunk.text).replace("\0", "")
                if text:
                    written.append(text)
                    patience = self._timeouts.between_tokens
                    yield Delta(text)
                usage = _add(usage, chunk)
                reason = _reason(chunk) or reason
        if not written:
            raise ModelUnavailable("The language model gave an empty answer; try again.")
        yield Completion(reason, usage or tokens.count_usage(messages, "".join(written), self._name), self._name)

    async def _next_chunk(self, chunks: AsyncIterator[Any], until: float) -> Any:
        try:
            async with asyncio.timeout_at(until):
                return await anext(chunks, None)
        except TimeoutError:
            raise ModelUnavailable("The language model fell silent; try again.") from None
        except Exception as error:  # noqa: BLE001 - providers' packages raise errors of their own, without a common base
            # Its type only: such errors quote what was sent, the prompt or the key.
            log.warning("model.failed", model=self._name, error=type(error).__name__)
            raise ModelUnavailable("The language model gave no usable answer; try again.") from None


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _add(usage: Usage | None, chunk: Any) -> Usage | None:
    """LangChain spreads usage over chunks, to be summed."""
    told = chunk.usage_metadata
    if not told:
        return usage
    before = usage or Usage(0, 0)
    return Usage(before.input_tokens + told["input_tokens"], before.output_tokens + told["output_tokens"])


def _reason(chunk: Any) -> FinishReason | None:
    metadata = chunk.response_metadata
    told = metadata.get("finish_reason") or metadata.get("stop_reason")
    return _REASONS.get(told, "other") if told else None
