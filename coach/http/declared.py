"""What a route declares of itself: the body that it reads, the answers that it gives, the problems it may meet.

A handler gets its body, read, as ``sent``; the API's description (``coach/public/openapi.py``) reads the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request
from litestar.di import Provide
from msgspec import Struct

from coach.errors import CoachError, InvalidInput, TooLarge
from coach.http.bodies import body_of, require_json
from coach.http.catalogue import UnsupportedMediaType
from coach.http.negotiation import JSON, STREAM
from coach.http.problems import MEDIA_TYPE, Problem

Problems = tuple[type[CoachError], ...]
OF_A_BODY: Problems = (InvalidInput, TooLarge, UnsupportedMediaType)


class Form(Struct, frozen=True):
    """One form of an answer that the handler's own return type does not tell."""

    media_type: str
    kind: Any
    description: str | None = None
    example: Any = None


def as_json(kind: Any, *, example: Any = None) -> Form:
    return Form(JSON, kind, example=example)


def as_stream(description: str, *, example: str | None = None) -> Form:
    """Server-sent events."""
    return Form(STREAM, str, description, example)


class Declared(Struct, frozen=True, kw_only=True):
    """A handler's ``opt["declared"]``; what all of a router may meet stands in ``opt["problems"]``.

    ``headers`` are those of a request, ``address`` gives path parameters that have one value only.
    """

    body: Any = None
    example: Any = None
    is_optional: bool = False
    problems: Problems = ()
    answers: tuple[Form, ...] = ()
    headers: Mapping[str, str] = {}
    address: Mapping[str, str] = {}


class Refusals(Struct, frozen=True, kw_only=True):
    """How the refusals of a router look: its ``opt["refusals"]``, where they are no problem details."""

    kind: Any = Problem
    media_type: str = MEDIA_TYPE
    description: str = "A problem; its type says which."
    statuses: Mapping[int, int] = {}


def declares(
    body: type[Struct] | None = None,
    *,
    example: Any = None,
    is_optional: bool = False,
    is_streamed: bool = False,
    problems: Problems = (),
    answers: tuple[Form, ...] = (),
    headers: Mapping[str, str] | None = None,
    address: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a handler's decorator is given: ``@patch("/", **declares(Change, example={…}, problems=(NotFound,)))``.

    The handler takes ``sent``, the body as ``body``, or its bytes as they arrive where it ``is_streamed``. An
    ``is_optional`` body that is left out is one without fields.
    """
    declared = Declared(
        body=body,
        example=example,
        is_optional=is_optional,
        problems=problems if body is None else (*OF_A_BODY, *problems),
        answers=answers,
        headers=headers or {},
        address=address or {},
    )
    if body is None:
        return {"opt": {"declared": declared}}

    async def sent(request: Request[Any, Any, Any]) -> Any:
        if is_streamed:
            require_json(request)
            return request.stream()
        if is_optional and not await request.body():
            return body()
        return await body_of(request, body)

    return {"opt": {"declared": declared}, "dependencies": {"sent": Provide(sent)}}
