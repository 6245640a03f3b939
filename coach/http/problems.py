"""The one place where errors become HTTP: RFC 9457 problem details."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import ClientException, HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap
from msgspec import UNSET, Struct, UnsetType

from coach.errors import CoachError, InvalidInput, QuotaExhausted, RateLimited, Unauthenticated, Unavailable
from coach.http.catalogue import kind_of, slug_of
from coach.telemetry import request_id

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"


class FieldProblem(Struct):
    """One value that was wrong, by its JSON path."""

    path: str
    message: str


class Problem(Struct, kw_only=True):
    """RFC 9457. ``type`` is ``/problems/<slug>``, ``instance`` the request id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    used: int | UnsetType = UNSET
    resets_at: datetime | UnsetType = UNSET


def problem(slug: str, detail: str) -> Problem:
    kind = kind_of(slug)
    return Problem(
        type=f"/problems/{kind.slug}", title=kind.title, status=kind.status, detail=detail, instance=request_id()
    )


def respond(body: Problem, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(msgspec.json.encode(body), status_code=body.status, headers=headers or {}, media_type=MEDIA_TYPE)


def problem_of(error: CoachError) -> Problem:
    """An error of ours with all that a client may know of it."""
    body = problem(error.slug, str(error))
    if isinstance(error, InvalidInput):
        body.errors = [FieldProblem(path, message) for path, message in error.errors]
    elif isinstance(error, QuotaExhausted):
        body.limit, body.used, body.resets_at = error.limit, error.used, error.resets_at
    return body


def from_coach_error(request: Request[Any, Any, Any], error: CoachError) -> Response[bytes]:
    """An error of ours, as its slug says."""
    kind = kind_of(error.slug)
    if kind.status == 500:
        return unexpected(request, error)
    body = problem_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, QuotaExhausted):
        headers = {"Retry-After": str(_seconds_until(error.resets_at)), "x-should-retry": "false"}
    elif isinstance(error, RateLimited):
        headers = _rate(error)
    elif isinstance(error, Unauthenticated):
        headers = {"WWW-Authenticate": _challenge(request, str(error))}
    elif isinstance(error, Unavailable):
        headers = {"Retry-After": "5"}
        log.warning("unavailable", slug=error.slug, detail=str(error))
    return respond(body, headers)


def _rate(error: RateLimited) -> dict[str, str]:
    seconds = str(max(1, math.ceil(error.retry_after)))
    headers = {"Retry-After": seconds, "RateLimit-Remaining": "0", "RateLimit-Reset": seconds}
    return headers if error.per_minute is None else headers | {"RateLimit-Limit": str(error.per_minute)}


def _seconds_until(moment: datetime) -> int:
    return max(1, math.ceil((moment - datetime.now(UTC)).total_seconds()))


def _challenge(request: Request[Any, Any, Any], detail: str) -> str:
    """RFC 6750: a request without credentials is told no error code."""
    if "authorization" not in request.headers:
        return 'Bearer realm="coach"'
    quotable = re.sub(r"[^ !#-\[\]-~]", "'", detail)
    return f'Bearer realm="coach", error="invalid_token", error_description="{quotable}"'


def from_validation(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """Litestar's own checks of parameters and typed bodies."""
    extra = error.extra if isinstance(error.extra, list) else []
    found = [FieldProblem(str(e.get("key") or "body"), str(e.get("message", ""))) for e in extra if isinstance(e, dict)]
    if missing := _MISSING.match(error.detail):
        found = [FieldProblem(missing[1], "is required.")]
    body = problem("invalid-input", "; ".join(f"{e.path}: {e.message}" for e in found) or error.detail)
    body.errors = found or [FieldProblem("body", error.detail)]
    return respond(body)


_MISSING = re.compile(r"Missing required \w+ parameter '(\w+)'")
_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is larger than accepted here.",
}


def from_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses before a route of ours is reached."""
    kind = kind_of(slug_of(error.status_code))
    if kind.status == 500:
        return unexpected(request, error)
    headers = {name: str(value) for name, value in (error.headers or {}).items()}
    said = error.detail if isinstance(error, ClientException) else kind.title
    return respond(problem(kind.slug, _DETAILS.get(kind.status, said)), headers)


def unexpected(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response holds nothing of the cause. The log has it, under the same request id."""
    log.error("unexpected_error", exc_info=error)
    return respond(problem("internal-error", "Something went wrong here; the request id finds it in the log."))


HANDLERS: ExceptionHandlersMap = {
    CoachError: from_coach_error,
    ValidationException: from_validation,
    HTTPException: from_framework,
    Exception: unexpected,
}
