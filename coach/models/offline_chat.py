"""``offline`` as a LangChain chat model. Imports LangChain: not for the start of a process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from coach.models.base import ChatMessage, ModelOptions, Role
from coach.models.offline import NAME, offline_reply

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "ai": "assistant", "AIMessageChunk": "assistant"}


class OfflineChat(BaseChatModel):
    """Composes its answer from the context in the prompt; deterministic."""

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
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        ours = [ChatMessage(_ROLES.get(message.type, "user"), str(message.text)) for message in messages]
        reply = offline_reply(ours, ModelOptions(stop=tuple(stop or ()), max_tokens=kwargs.get("max_tokens")))
        for piece in reply.pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
        asked, written = reply.usage.input_tokens, reply.usage.output_tokens
        usage = UsageMetadata(input_tokens=asked, output_tokens=written, total_tokens=asked + written)
        told = {"finish_reason": reply.reason, "model_name": NAME}
        yield ChatGenerationChunk(message=AIMessageChunk(content="", response_metadata=told, usage_metadata=usage))
