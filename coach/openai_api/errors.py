"""OpenAI's error shape for everything under ``/v1``: the problems of ``http/problems.py`` in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.types import ExceptionHandlersMap
from msgspec import Struct

from coach.errors import InvalidInput, NotFound
from coach.http.problems import Problem, problem

AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Any], Response[bytes]]

PREFIX = "/v1"
NO_RETRY = {"x-should-retry": "false"}


class Unsupported(InvalidInput):
    """A parameter that is understood and cannot be honoured: silence would mislead."""


class UnknownModel(NotFound):
    """There is no such model here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The model {name[:80]!r} does not exist here; GET /v1/models lists those that do.")


class Details(Struct, frozen=True):
    """``param`` names what was wrong, ``code`` is stable."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIError(Struct, frozen=True):
    """The body of every refusal under ``/v1``, and of an error in the middle of a stream."""

    error: Details


# (type, code) as the stock clients and programs that read their exceptions know them.
_KINDS: dict[str, tuple[str, str | None]] = {
    "invalid-input": ("invalid_request_error", None),
    "refused": ("invalid_request_error", None),
    "too-large": ("invalid_request_error", "request_too_large"),
    "unsupported-media-type": ("invalid_request_error", "unsupported_media_type"),
    "unauthenticated": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("permission_error", "forbidden"),
    "not-found": ("invalid_request_error", "not_found"),
    "method-not-allowed": ("invalid_request_error", "method_not_allowed"),
    "conflict": ("invalid_request_error", "conflict"),
    "rate-limited": ("requests", "rate_limit_exceeded"),
    "quota-exhausted": ("insufficient_quota", "insufficient_quota"),
}
# Not parameters but the whole of a request.
_NAMELESS = ("body", "query")


def details(slug: str, message: str, param: str | None = None, code: str | None = None) -> OpenAIError:
    """``slug`` is a problem's; what is the server's own fault keeps its slug as the code."""
    kind, usual = _KINDS.get(slug, ("server_error", slug.replace("-", "_")))
    return OpenAIError(Details(message, kind, None if param in _NAMELESS else param, code or usual))


def under_v1(handlers: ExceptionHandlersMap) -> ExceptionHandlersMap:
    """The same handlers, whose answers under ``/v1`` speak OpenAI's way; the framework's own 404 and 405 too."""
    return {kind: _translating(cast("Handler", handler)) for kind, handler in handlers.items()}


def _translating(handler: Handler) -> Any:
    def handle(request: AnyRequest, error: Exception) -> Response[bytes]:
        answer = handler(request, error)
        path = request.scope["path"]
        return _translated(answer, error) if path == PREFIX or path.startswith(PREFIX + "/") else answer

    return handle


def _translated(answer: Response[bytes], error: Exception) -> Response[bytes]:
    found = msgspec.json.decode(answer.content, type=Problem)
    slug = found.type.rpartition("/")[2]
    param: str | None = found.errors[0].path if found.errors else None
    code: str | None = None
    if isinstance(error, UnknownModel):
        param, code = "model", "model_not_found"
    elif isinstance(error, Unsupported):
        code = "unsupported_parameter"
    headers = {**answer.headers, **(NO_RETRY if found.status == 409 else {})}
    return respond(details(slug, found.detail, param, code), 400 if found.status == 422 else found.status, headers)


def respond(body: OpenAIError, status: int, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=status, headers=headers or {}, media_type="application/json")


def error_of_ending(slug: str, message: str, *, again: bool) -> Response[bytes]:
    """A turn that ended without a whole answer, before anything was sent. ``again``: the SDKs may try once more."""
    headers = {"Retry-After": "1"} if again else NO_RETRY
    return respond(details(slug, message), problem(slug, message).status, headers)
