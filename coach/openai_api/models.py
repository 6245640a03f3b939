"""What a caller may name as a model: the coach, one of its features, or a UI task."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from coach.chat.features import DEFAULT_FEATURE, FEATURES
from coach.openai_api.errors import UnknownModel

DEFAULT, UI_TASK = "coach", "coach/task"
CREATED = 1_795_392_000
_FEATURES = {DEFAULT: DEFAULT_FEATURE, **{f"{DEFAULT}/{feature}": feature for feature in FEATURES}}


class Model(Struct, frozen=True):
    """One entry of ``GET /v1/models``."""

    id: str
    object: Literal["model"] = "model"
    created: int = CREATED
    owned_by: str = "aurum-coach"


class ModelList(Struct, frozen=True):
    data: tuple[Model, ...]
    object: Literal["list"] = "list"


MODELS = {name: Model(name) for name in (*_FEATURES, UI_TASK)}


def feature_of(model: str) -> str | None:
    """None for a UI task.

    :raises UnknownModel: naming where to look.
    """
    if model == UI_TASK:
        return None
    if model not in _FEATURES:
        raise UnknownModel(model)
    return _FEATURES[model]
