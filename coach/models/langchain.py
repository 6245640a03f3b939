"""Any LangChain chat model behind our seam: other providers by ``provider:model``, or one that is handed in.

Costs LangChain's 316-455 µs a chunk; OpenAI-compatible endpoints have a way of their own (``coach.models.openai``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, Literal, cast

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
    Loading,
    ModelOptions,
    Piece,
    Reasoning,
    Usage,
)
from coach.models.chunks import clean
from coach.models.endings import read_ending, read_usage, wordless
from coach.models.loading import beginning
from coach.models.openai_failures import Refused
from coach.models.openai_wire import UPSTREAM_ERROR
from coach.models.parameters import UNKNOWN_CONTEXT, Parameters, default_ceiling, sent_parameters
from coach.models.thinking import ThinkingTags
from coach.models.timeouts import PATIENT, Timeouts

log = structlog.get_logger(__name__)

_KINDS: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def connect_openai(
    name: str, timeouts: Timeouts = PATIENT, ceiling: int | None = None, **configuration: Any
) -> LangChainModel:
    """``openai:model`` with a client that is closed with it; LangChain's own is shared by address, never closed."""
    import openai

    client = openai.DefaultAsyncHttpxClient(follow_redirects=False)
    connected = connect_langchain(name, timeouts, ceiling, http_async_client=client, **configuration)
    connected.own(client.aclose)
    return connected


def connect_langchain(
    name: str, timeouts: Timeouts = PATIENT, ceiling: int | None = None, **configuration: Any
) -> LangChainModel:
    """``provider:model``, as ``init_chat_model`` reads it; keys come from the provider's own variables.

    :raises ImportError: where the provider's package is missing
    :raises ValueError: where it has no key
    """
    from langchain.chat_models import init_chat_model

    return LangChainModel(name, init_chat_model(name, **configuration), timeouts, ceiling)


class LangChainModel:
    """A ``ChatModel`` over ``BaseChatModel.astream``. Retries are the wrapped model's own."""

    def __init__(
        self, name: str, chat: BaseChatModel, timeouts: Timeouts = PATIENT, ceiling: int | None = None
    ) -> None:
        self.name = name
        self._chat = chat
        self._timeouts = timeouts
        self._parameters = Parameters()
        self._is_unopened = False
        profile: Mapping[str, Any] = chat.profile or {}
        self.context_tokens = int(profile.get("max_input_tokens") or UNKNOWN_CONTEXT)
        self._ceiling = ceiling or default_ceiling(self.context_tokens, profile)
        self._owned = AsyncExitStack()
        tokens.encoding_for(name)

    def count_tokens(self, text: str) -> int:
        return tokens.count(text, self.name)

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
        answer = _Answer(is_unopened=self._is_unopened)
        async with AsyncExitStack() as opened:
            until = min(loop.time() + patience, deadline)
            async with beginning(self._begin(messages, options, until, opened)) as begun:
                if not begun.done():
                    yield Loading()
                chunks, chunk = await begun
            while chunk is not None:
                # Python 3.11's wait_for, which providers' packages use, drops a cancellation that meets a chunk.
                if _cancellations() > cancelled_before:
                    raise asyncio.CancelledError
                for piece in answer.read(chunk):
                    yield piece
                patience = self._timeouts.between_tokens if answer.written else patience
                chunk = await self._next_chunk(chunks, min(loop.time() + patience, deadline))
            for piece in answer.end():
                yield piece
        self._is_unopened = answer.tags.is_unopened
        text = "".join(answer.written)
        if not text:
            raise ModelUnavailable(wordless(answer.reason))
        yield Completion(answer.reason, answer.usage or tokens.count_usage(messages, text, self.name), self.name)

    async def _begin(
        self, messages: Sequence[ChatMessage], options: ModelOptions, until: float, opened: AsyncExitStack
    ) -> tuple[AsyncIterator[Any], Any]:
        """The chunks and the first of them, once the provider takes the parameters."""
        spoken = [_KINDS[message.role](content=message.content) for message in messages]
        given = sent_parameters(options, self._ceiling)
        left_out = self._parameters.left_out
        while True:
            spelled = self._parameters.spell(given, left_out, is_ours=options.is_ours)
            chunks = cast("AsyncGenerator[AIMessageChunk, None]", self._chat.astream(spoken, **spelled))
            await opened.enter_async_context(aclosing(chunks))
            try:
                first = await self._next_chunk(chunks, until)
            except _Failed as failed:
                more = self._parameters.refused(failed.refused, spelled, is_ours=options.is_ours)
                if not more:
                    raise
                left_out |= more
            else:
                self._parameters.left_out |= left_out
                return chunks, first

    async def _next_chunk(self, chunks: AsyncIterator[Any], until: float) -> Any:
        try:
            async with asyncio.timeout_at(until):
                return await anext(chunks, None)
        except TimeoutError:
            raise ModelUnavailable("The language model fell silent; try again.") from None
        except Exception as error:  # noqa: BLE001 - providers' packages raise errors of their own, without a common base
            # Its type only: such errors quote what was sent, the prompt or the key.
            log.warning("model.failed", model=self.name, error=type(error).__name__)
            raise _Failed(error) from None


class _Failed(ModelUnavailable):
    """What a provider's package raised, as far as it tells of a refusal."""

    def __init__(self, error: Exception) -> None:
        response = getattr(error, "response", None)
        told = [getattr(error, name, None) for name in ("status_code", "http_status", "code")]
        statuses = [each for each in (*told, getattr(response, "status_code", None)) if isinstance(each, int)]
        self.refused = Refused(statuses[0] if statuses else None, str(error))
        super().__init__("The language model gave no usable answer; try again.")


class _Answer:
    """What the chunks of one answer say together."""

    def __init__(self, *, is_unopened: bool) -> None:
        self.written: list[str] = []
        self.usage: Usage | None = None
        self.reason: FinishReason = "other"
        self.tags = ThinkingTags(is_unopened=is_unopened)
        self._figures = [0, 0]

    def read(self, chunk: AIMessageChunk) -> Iterator[Delta | Reasoning]:
        """:raises ModelUnavailable: the provider tells of an ending that is none."""
        if thoughts := _thoughts(chunk):
            yield Reasoning(clean(thoughts))
        yield from self._kept(self.tags.feed(clean(str(chunk.text))))
        if told := chunk.usage_metadata:  # spread over chunks, to be summed
            self._figures = [sum_ + told[side] for sum_, side in zip(self._figures, _SIDES, strict=True)]
            self.usage = read_usage(*self._figures)
        metadata = chunk.response_metadata
        endings = [read_ending(metadata.get(name)) for name in _REASONS]
        reason = next((ending for ending in endings if ending), None)
        if reason == "error":
            raise ModelUnavailable(UPSTREAM_ERROR)
        self.reason = reason or self.reason

    def end(self) -> Iterator[Delta | Reasoning]:
        return self._kept(self.tags.end(is_whole=self.reason != "length"))

    def _kept(self, pieces: Sequence[Delta | Reasoning]) -> Iterator[Delta | Reasoning]:
        self.written += [piece.text for piece in pieces if isinstance(piece, Delta)]
        return iter(pieces)


_SIDES: tuple[Literal["input_tokens", "output_tokens"], ...] = ("input_tokens", "output_tokens")
_REASONS = ("finish_reason", "stop_reason", "done_reason", "stopReason")


def _thoughts(chunk: AIMessageChunk) -> str:
    told = chunk.additional_kwargs.get("reasoning_content")
    if isinstance(told, str) and told:
        return told
    blocks = chunk.content_blocks if isinstance(chunk.content, list) else ()
    return "".join(str(block.get("reasoning", "")) for block in blocks if block["type"] == "reasoning")


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0
