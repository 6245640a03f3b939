"""Every problem a client can meet: an error with its status and what to do. Served at ``/problems/<slug>``."""

from __future__ import annotations

import re

from msgspec import Struct

from coach import errors


class UnsupportedMediaType(errors.Refused, slug="unsupported-media-type"):
    """This kind of body is not read here."""


class MethodNotAllowed(errors.Refused, slug="method-not-allowed"):
    """This address does not take that method."""


class Kind(Struct, frozen=True):
    """One documented problem."""

    slug: str
    status: int
    title: str
    advice: str


def _kind(error: type[errors.CoachError], status: int, advice: str) -> Kind:
    """The title is what the error's docstring says first."""
    return Kind(error.slug, status, re.split(r"[.;\n]", error.__doc__ or "", maxsplit=1)[0], advice)


_KINDS = (
    _kind(errors.Refused, 400, "The detail says why. Change the request before you send it again."),
    _kind(
        errors.InvalidInput,
        422,
        "Each entry of errors names the JSON path of a value and what is accepted there.",
    ),
    _kind(errors.TooLarge, 413, "A chat body may have 8 MiB, any other 256 kB. Send less, or in several requests."),
    _kind(
        errors.Unauthenticated,
        401,
        "Send Authorization: Bearer <token>. The detail says what is wrong with the one that came. Sign in again.",
    ),
    _kind(
        errors.Forbidden, 403, "An operator's token (role service_role) reaches /admin only, a user's everything else."
    ),
    _kind(errors.NotFound, 404, "It is absent, or another person's: the two answer alike."),
    _kind(MethodNotAllowed, 405, "The Allow header lists those it takes."),
    _kind(errors.Conflict, 409, "Read the current state, then decide. To edit a message, repeat its id in messageId."),
    _kind(UnsupportedMediaType, 415, "Send JSON in UTF-8, with Content-Type: application/json."),
    _kind(
        errors.RateLimited,
        429,
        "Wait for as many seconds as Retry-After says; RateLimit-Limit is how many requests a minute are granted.",
    ),
    _kind(
        errors.QuotaExhausted,
        429,
        "limit, used and resets_at tell how much there was and when it begins anew. Trying again before is of no use.",
    ),
    _kind(errors.CoachError, 500, "It is logged under the request id that instance names."),
    _kind(errors.Misconfigured, 500, "The operator has to correct it; see the log."),
    _kind(errors.Unavailable, 503, "Nothing was wrong with the request. Try again shortly."),
    _kind(
        errors.ModelUnavailable,
        503,
        "Nothing was charged if no answer had begun. Try again, or ask the operator for a fallback model.",
    ),
    _kind(errors.EmbedderUnavailable, 503, "Try again shortly."),
    _kind(errors.DatabaseUnavailable, 503, "Try again shortly."),
)
KINDS = {kind.slug: kind for kind in _KINDS}


def kind_of(slug: str) -> Kind:
    return KINDS.get(slug, KINDS[errors.CoachError.slug])


def slug_of(status: int) -> str:
    """The broadest problem of a status: what there is to say where the framework refuses."""
    usual = errors.Refused.slug if status < 500 else errors.CoachError.slug
    return next((kind.slug for kind in KINDS.values() if kind.status == status), usual)
