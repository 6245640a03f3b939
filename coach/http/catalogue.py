"""Every problem a client can meet: its slug, its status, what it means, what to do. Served at ``/problems/<slug>``."""

from __future__ import annotations

from msgspec import Struct


class Kind(Struct, frozen=True):
    """One documented problem."""

    slug: str
    status: int
    title: str
    advice: str


_KINDS = (
    Kind("refused", 400, "Refused", "The detail says why. Change the request before you send it again."),
    Kind(
        "invalid-input",
        422,
        "Something in the request is not as documented",
        "Each entry of errors names the JSON path of a value and what is accepted there.",
    ),
    Kind(
        "too-large",
        413,
        "The request is too large",
        "A chat body may have 8 MiB, any other 256 kB. Send less, or in several requests.",
    ),
    Kind(
        "unauthenticated",
        401,
        "A valid bearer token is needed",
        "Send Authorization: Bearer <token>. The detail says what is wrong with the one that came. Sign in again.",
    ),
    Kind(
        "forbidden",
        403,
        "This token does not reach here",
        "An operator's token (role service_role) reaches /admin only, a user's everything else.",
    ),
    Kind("not-found", 404, "There is no such thing", "It is absent, or another person's: the two answer alike."),
    Kind("method-not-allowed", 405, "This address does not take that method", "The Allow header lists those it takes."),
    Kind(
        "conflict",
        409,
        "This contradicts what is stored",
        "Read the current state, then decide. To edit a message, repeat its id in messageId.",
    ),
    Kind(
        "unsupported-media-type",
        415,
        "This kind of body is not read here",
        "Send JSON in UTF-8, with Content-Type: application/json.",
    ),
    Kind(
        "rate-limited",
        429,
        "Too many requests",
        "Wait for as many seconds as Retry-After says; RateLimit-Limit is how many requests a minute are granted.",
    ),
    Kind(
        "quota-exhausted",
        429,
        "The month's quota is used up",
        "limit, used and resets_at tell how much there was and when it begins anew. Trying again before is of no use.",
    ),
    Kind("internal-error", 500, "Something went wrong here", "It is logged under the request id that instance names."),
    Kind("misconfigured", 500, "A setting of this server is wrong", "The operator has to correct it; see the log."),
    Kind("unavailable", 503, "Not available right now", "Nothing was wrong with the request. Try again shortly."),
    Kind(
        "model-unavailable",
        503,
        "The language model gave no usable answer",
        "Nothing was charged if no answer had begun. Try again, or ask the operator for a fallback model.",
    ),
    Kind("embedder-unavailable", 503, "The embedder gave no usable answer", "Try again shortly."),
    Kind("database-unavailable", 503, "The database cannot be reached", "Try again shortly."),
)

KINDS: dict[str, Kind] = {kind.slug: kind for kind in _KINDS}


def kind_of(slug: str) -> Kind:
    return KINDS.get(slug, KINDS["internal-error"])
