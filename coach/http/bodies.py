"""JSON bodies of routes other than chat's: of one shape, and strict. An unknown field is a mistake that is told."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, TypeVar

import msgspec
from litestar import Request
from msgspec import inspect

from coach.errors import InvalidInput
from coach.http.problems import require_json

T = TypeVar("T")


async def body_of(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """The request's body as ``kind``, a Struct that forbids unknown fields.

    :raises UnsupportedMediaType: it is not JSON by its own word. :raises InvalidInput: names what is wrong by its path.
    """
    require_json(request)
    return read(await request.body(), kind)


def read(body: bytes, kind: type[T]) -> T:
    """JSON as ``kind``.

    :raises InvalidInput: not UTF-8, not JSON, or of another shape.
    """
    try:
        # As text: msgspec would pass over broken UTF-8 in what it does not need.
        return msgspec.json.decode(body.decode(), type=kind)
    except UnicodeDecodeError as error:
        raise InvalidInput("body", f"is not valid UTF-8 (byte {error.start}).") from None
    except msgspec.ValidationError as error:
        raise InvalidInput(*told(str(error), kind)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput("body", "is not valid JSON.") from None


def told(message: str, kind: Any) -> tuple[str, str]:
    """Path and advice, from what msgspec says: ``Expected `str`, got `int` - at `$.title```."""
    what, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if named := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{path}.{named[1]}".lstrip("."), "is required."
    if named := re.fullmatch(r"Object contains unknown field `(.+)`", what):
        return f"{path}.{named[1]}".lstrip("."), "is not a field here."
    if what.startswith("Invalid enum value"):
        return path, f"must be one of {', '.join(_choices(kind).get(path.rpartition('.')[2], ()))}."
    return path or "body", f"{what[0].lower()}{what[1:]}."


@cache
def _choices(kind: Any) -> dict[str, tuple[str, ...]]:
    """What each field that is one of several words may be, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    described = inspect.type_info(kind)
    for each in described.fields if isinstance(described, inspect.StructType) else ():
        kinds = each.type.types if isinstance(each.type, inspect.UnionType) else (each.type,)
        for one in kinds:
            if isinstance(one, inspect.LiteralType):
                found[each.encode_name] = tuple(map(str, one.values))
    return found
