"""Every problem a client can meet: an error with its status and what to do. Served at ``/problems/<slug>``."""

from __future__ import annotations

import re

from msgspec import Struct

from coach.errors import (
    CoachError,
    Conflict,
    DatabaseUnavailable,
    EmbedderUnavailable,
    Forbidden,
    InvalidInput,
    Misconfigured,
    ModelUnavailable,
    NotFound,
    QuotaExhausted,
    RateLimited,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)


class UnsupportedMediaType(Refused):
    """This kind of body is not read here."""

    slug = "unsupported-media-type"


class MethodNotAllowed(Refused):
    """This address does not take that method."""

    slug = "method-not-allowed"


class Kind(Struct, frozen=True):
    """One documented problem."""

    slug: str
    status: int
    title: str
    advice: str


_ADVICE: dict[type[CoachError], tuple[int, str]] = {
    Refused: (400, "The detail says why. Change the request before you send it again."),
    InvalidInput: (422, "Each entry of errors names the JSON path of a value and what is accepted there."),
    TooLarge: (413, "A chat body may have 8 MiB, any other 256 kB. Send less, or in several requests."),
    Unauthenticated: (
        401,
        "Send Authorization: Bearer <token>. The detail says what is wrong with the one that came. Sign in again.",
    ),
    Forbidden: (403, "An operator's token (role service_role) reaches /admin only, a user's everything else."),
    NotFound: (404, "It is absent, or another person's: the two answer alike."),
    MethodNotAllowed: (405, "The Allow header lists those it takes."),
    Conflict: (409, "Read the current state, then decide. To edit a message, repeat its id in messageId."),
    UnsupportedMediaType: (415, "Send JSON in UTF-8, with Content-Type: application/json."),
    RateLimited: (
        429,
        "Wait for as many seconds as Retry-After says; RateLimit-Limit is how many requests a minute are granted.",
    ),
    QuotaExhausted: (
        429,
        "limit, used and resets_at tell how much there was and when it begins anew. Trying again before is of no use.",
    ),
    CoachError: (500, "It is logged under the request id that instance names."),
    Misconfigured: (500, "The operator has to correct it; see the log."),
    Unavailable: (503, "Nothing was wrong with the request. Try again shortly."),
    ModelUnavailable: (
        503,
        "Nothing was charged if no answer had begun. Try again, or ask the operator for a fallback model.",
    ),
    EmbedderUnavailable: (503, "Try again shortly."),
    DatabaseUnavailable: (503, "Try again shortly."),
}


def _title(error: type[CoachError]) -> str:
    """What its docstring says first."""
    return re.split(r"[.;\n]", error.__doc__ or "", maxsplit=1)[0]


KINDS: dict[str, Kind] = {
    error.slug: Kind(error.slug, status, _title(error), advice) for error, (status, advice) in _ADVICE.items()
}


def kind_of(slug: str) -> Kind:
    return KINDS.get(slug, KINDS[CoachError.slug])


def slug_of(status: int) -> str:
    """The broadest problem of a status: what there is to say where the framework refuses."""
    usual = Refused.slug if status < 500 else CoachError.slug
    return next((kind.slug for kind in KINDS.values() if kind.status == status), usual)
