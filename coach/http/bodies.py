"""JSON that came from outside, read to a type. Where it does not fit, the path of the value says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from litestar import Request
from msgspec import inspect

from coach.errors import InvalidInput
from coach.http.catalogue import UnsupportedMediaType
from coach.values.text import mend_surrogates


async def body_of(request: Request[Any, Any, Any], kind: Any) -> Any:
    """The request's body as ``kind``.

    :raises UnsupportedMediaType: it is not JSON by its own word. :raises InvalidInput: names what is wrong by its path.
    """
    require_json(request)
    return read(await request.body(), kind)


def require_json(request: Request[Any, Any, Any]) -> None:
    """:raises UnsupportedMediaType: the body is not JSON by its own word."""
    # A form is what curl sends when it is not told otherwise: it is refused by its name.
    sent = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if sent != "application/json" and not sent.endswith("+json"):
        raise UnsupportedMediaType(
            f"Send the body with Content-Type: application/json; {sent[:60]!r} is not read here."
        )


def read(body: bytes, kind: Any, at: str = "") -> Any:
    """JSON as ``kind``. ``at`` is the path of ``body`` within what was sent.

    :raises InvalidInput: not UTF-8, not JSON, or of another shape.
    """
    try:
        # As text: msgspec would pass over broken UTF-8 in what it does not need.
        text = body.decode()
        try:
            return _decoder(kind).decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _decoder(kind).decode(mend_surrogates(text))
    except UnicodeDecodeError as error:
        raise InvalidInput(at or "body", f"is not valid UTF-8 (byte {error.start}).") from None
    except msgspec.ValidationError as error:
        raise InvalidInput(*_told(str(error), kind, at)) from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput(at or "body", "is not valid JSON.") from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _told(message: str, kind: Any, at: str) -> tuple[str, str]:
    """Path and advice, from what msgspec says: ``Expected `str`, got `int` - at `$.messages[0].id```."""
    what, _, where = message.partition(" - at `$")
    inner = where.rstrip("`")
    path = f"{at}{inner}".lstrip(".")
    if named := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"{path}.{named[1]}".lstrip("."), "is required."
    if named := re.fullmatch(r"Object contains unknown field `(.+)`", what):
        return f"{path}.{named[1]}".lstrip("."), "is not a field here."
    if what.startswith("Invalid enum value"):
        steps = re.sub(r"\[\d+\]", ".[]", inner).split(".")[1:]
        return path, f"must be one of {', '.join(dict.fromkeys(_choices(inspect.type_info(kind), steps)))}."
    return path or "body", f"{what[0].lower()}{what[1:]}."


def _choices(kind: inspect.Type, steps: list[str]) -> Iterator[str]:
    """The words that may stand where ``steps`` lead: names of fields, and ``[]`` into a list."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from _choices(inner, steps)
        case inspect.UnionType(types=kinds):
            for each in kinds:
                yield from _choices(each, steps)
        case inspect.LiteralType(values=values) if not steps:
            yield from map(str, values)
        case inspect.ListType(item_type=item) if steps[:1] == ["[]"]:
            yield from _choices(item, steps[1:])
        case inspect.StructType(fields=fields):
            for field in fields:
                if [field.encode_name] == steps[:1]:
                    yield from _choices(field.type, steps[1:])
