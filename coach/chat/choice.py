"""The choice of a turn: its model, its prompt and its room for context, made once."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from coach.chat.prompt import Prompts, Template, room_for_context
from coach.chat.schemas import ChatRequest
from coach.errors import InvalidInput
from coach.models.base import ChatModel


class Choice(Struct, frozen=True):
    """``name`` is the model's; ``room`` the tokens left for context and history."""

    name: str
    model: ChatModel
    template: Template
    room: int


class Choices:
    """The models that a request may choose, by name (the first is the default), and the prompts."""

    def __init__(self, models: Mapping[str, ChatModel], prompts: Prompts) -> None:
        self._models, self._prompts = models, prompts

    def choose(self, request: ChatRequest, persona: str | None = None) -> Choice:
        """For a request: the feature's prompt unless another ``persona`` answers, tuned as the caller wishes.

        :raises InvalidInput: an unknown model, or a question that is too long for it.
        """
        name = next(iter(self._models)) if request.model is None else request.model
        if name not in self._models:
            raise InvalidInput("model", f"must be one of {', '.join(self._models)}.")
        model, template = self._models[name], self._prompts[persona or request.feature]
        if request.caller is not None:
            template = template.tuned(request.caller.options, model.context_tokens)
        room = room_for_context(template, _fixed_text(request), model.count_tokens, model.context_tokens)
        return Choice(name, model, template, room)


def _fixed_text(request: ChatRequest) -> str:
    """The text that must fit, whatever else is dropped."""
    return "\n".join((request.text, *(request.caller.notes if request.caller is not None else ())))
