"""Models that connect at their first call: their imports take seconds, and a worker seldom calls one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence

from coach.models.base import AS_THE_MODEL_LIKES, ChatMessage, ChatModel, Completion, Delta, ModelOptions
from coach.models.configure import ModelSettings, build_models, model_names


class Models(Mapping[str, ChatModel]):
    """The models that a request may name, the default first."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._connected: Mapping[str, ChatModel] = {}
        self._late = {name: LazyModel(name, self) for name in model_names(settings)}

    def __getitem__(self, name: str) -> ChatModel:
        return self._late[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._late)

    def __len__(self) -> int:
        return len(self._late)

    @property
    def default(self) -> ChatModel:
        return next(iter(self._late.values()))

    def connect(self) -> Mapping[str, ChatModel]:
        """Make those that are not made yet.

        :raises Misconfigured: a name needs a key or a package that is not there.
        """
        self._connected = self._connected or build_models(self._settings)
        return self._connected

    async def aclose(self) -> None:
        """Close those that have been made."""
        for model in self._connected.values():
            await model.aclose()


class LazyModel:
    """One of them, as a ``ChatModel``."""

    def __init__(self, name: str, models: Models) -> None:
        self.name, self._models = name, models

    @property
    def _model(self) -> ChatModel:
        return self._models.connect()[self.name]

    @property
    def context_tokens(self) -> int:
        return self._model.context_tokens

    def stream(
        self, messages: Sequence[ChatMessage], options: ModelOptions = AS_THE_MODEL_LIKES
    ) -> AsyncGenerator[Delta | Completion, None]:
        return self._model.stream(messages, options)

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    async def aclose(self) -> None:
        """``Models`` closes what it has made."""
