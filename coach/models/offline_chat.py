"""``offline`` as a LangChain chat model. Imports LangChain: not for the start of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from coach.models.base import ChatMessage, Delta, FinishReason, ModelOptions, Role, Usage
from coach.models.offline import NAME, OfflineModel, offline_reply

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "ai": "assistant", "AIMessageChunk": "assistant"}


class OfflineChat(BaseChatModel):
    """Composes its answer from the context in the prompt; deterministic. ``word_delay`` in seconds."""

    word_delay: float = 0.0

    @property
    def _llm_type(self) -> str:
        return NAME

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": NAME}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = offline_reply(_to_ours(messages), _options(stop, kwargs))
        message = AIMessage(
            content="".join(reply.pieces), response_metadata=_metadata(reply.reason), usage_metadata=_usage(reply.usage)
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        reply = offline_reply(_to_ours(messages), _options(stop, kwargs))
        for piece in reply.pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        yield _last_chunk(reply.reason, reply.usage)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        ours = OfflineModel(self.word_delay).stream(_to_ours(messages), _options(stop, kwargs))
        async with aclosing(ours) as events:
            async for event in events:
                if isinstance(event, Delta):
                    yield ChatGenerationChunk(message=AIMessageChunk(content=event.text))
                else:
                    yield _last_chunk(event.reason, event.usage)


def _to_ours(messages: Sequence[BaseMessage]) -> list[ChatMessage]:
    return [ChatMessage(_ROLES.get(message.type, "user"), str(message.text)) for message in messages]


def _options(stop: list[str] | None, kwargs: dict[str, Any]) -> ModelOptions:
    return ModelOptions(stop=tuple(stop or ()), max_tokens=kwargs.get("max_tokens"))


def _last_chunk(reason: FinishReason, usage: Usage) -> ChatGenerationChunk:
    message = AIMessageChunk(content="", response_metadata=_metadata(reason), usage_metadata=_usage(usage))
    return ChatGenerationChunk(message=message)


def _metadata(reason: FinishReason) -> dict[str, str]:
    return {"finish_reason": reason, "model_name": NAME}


def _usage(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
    )
