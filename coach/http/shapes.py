"""What the API's description says of a value that is read later, or more exactly than its type can tell."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Meta


def shown_as(kind: Any) -> Meta:
    """Describe a field as ``kind``, whatever its own type: ``Annotated[Raw, shown_as(list[Part])]``."""
    shape = msgspec.json.schema(kind)
    return Meta(extra_json_schema=_whole(shape, shape.get("$defs", {})))


def _whole(shape: Any, named: dict[str, Any]) -> Any:
    """``shape`` with what it refers to in the place of the references."""
    if isinstance(shape, list):
        return [_whole(each, named) for each in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _whole(named[shape["$ref"].rpartition("/")[2]], named)
    return {key: _whole(value, named) for key, value in shape.items() if key != "$defs"}
