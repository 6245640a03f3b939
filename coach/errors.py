"""What can go wrong, from the coach's point of view.

CoachError
├── Refused                     the caller can do something about it
│   ├── InvalidInput            names the field and what would be accepted
│   ├── TooLarge                a body or frame past its documented size
│   ├── Unauthenticated         no token, or one that does not hold
│   ├── Forbidden               a good token of the wrong kind
│   ├── NotFound                absent, or another user's: nobody can tell which
│   ├── Conflict                contradicts what is stored
│   ├── RateLimited             too fast; says when to come back
│   └── QuotaExhausted          the month is used up; says when it resets
├── Unavailable                 nobody did anything wrong; try again
│   ├── ModelUnavailable
│   ├── EmbedderUnavailable
│   └── DatabaseUnavailable
│       └── DatabaseBusy        others hold what is to be written, and must not wait for it
├── NotAllDone                  a job could not do its work for some users; for the others it is done
└── Misconfigured               the operator's: names the variable and gives an example

No HTTP in here: ``http/catalogue.py`` gives each its status. ``slug`` is the stable end of the problem's ``type``; the
first clause of a docstring is its title, and the first line the default message.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One field that was wrong. ``path`` is a JSON path such as ``messages[0].parts[1].text``."""

    path: str
    message: str


class CoachError(Exception):
    """Something went wrong here."""

    slug: ClassVar[str] = "internal-error"

    def __init_subclass__(cls, slug: str | None = None) -> None:
        cls.slug = slug or cls.slug

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n", 1)[0])


class Refused(CoachError, slug="refused"):
    """Refused."""


class InvalidInput(Refused, slug="invalid-input"):
    """Something in the request is not as documented."""

    def __init__(self, path: str, message: str, *more: FieldError) -> None:
        self.errors: Sequence[FieldError] = (FieldError(path, message), *more)
        super().__init__("; ".join(f"{e.path}: {e.message}" for e in self.errors))


class TooLarge(Refused, slug="too-large"):
    """The request is too large."""


class Unauthenticated(Refused, slug="unauthenticated"):
    """A valid bearer token is needed."""


class Forbidden(Refused, slug="forbidden"):
    """This token does not reach here."""


class NotFound(Refused, slug="not-found"):
    """There is no such thing."""


class Conflict(Refused, slug="conflict"):
    """This contradicts what is stored."""


class RateLimited(Refused, slug="rate-limited"):
    """Too many requests."""

    def __init__(self, retry_after: float, message: str | None = None, *, per_minute: int | None = None) -> None:
        self.retry_after, self.per_minute = retry_after, per_minute
        super().__init__(message)


class QuotaExhausted(Refused, slug="quota-exhausted"):
    """The month's quota is used up."""

    def __init__(self, *, limit: int, used: int, resets_at: datetime) -> None:
        self.limit, self.used, self.resets_at = limit, used, resets_at
        super().__init__(
            f"All {limit} of this month's turns are used; the quota resets at {resets_at:%Y-%m-%d %H:%M} UTC."
        )


class Unavailable(CoachError, slug="unavailable"):
    """Not available right now; try again."""


class ModelUnavailable(Unavailable, slug="model-unavailable"):
    """The language model gave no usable answer; try again."""


class EmbedderUnavailable(Unavailable, slug="embedder-unavailable"):
    """The embedder gave no usable answer; try again."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        is_refusal: bool = False,
        is_about_text: bool = False,
    ) -> None:
        """``retry_after``: seconds for which it wants no more requests. ``is_refusal``: of whoever asks, whatever the
        text, until the operator has paid or corrected a key or a name. ``is_about_text``: of this text, and no other.
        """
        self.retry_after, self.is_refusal, self.is_about_text = retry_after, is_refusal, is_about_text
        super().__init__(message)


class DatabaseUnavailable(Unavailable, slug="database-unavailable"):
    """The database cannot be reached; try again."""


class DatabaseBusy(DatabaseUnavailable):
    """Others hold what is to be written; try again later."""


class NotAllDone(CoachError):
    """For some users it could not be done; the next round tries again."""


class Misconfigured(CoachError, slug="misconfigured"):
    """A setting of this server is wrong."""
