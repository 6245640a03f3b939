"""What went wrong upstream, in words that may be shown to anyone, and whether asking again can help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
import httpx2

from coach.errors import ModelUnavailable
from coach.models.openai_wire import UPSTREAM_ERROR

_ASK_AGAIN = frozenset({408, 409, 429})
BROKEN = (httpx2.HTTPError, aiohttp.ClientError)
"""What a broken connection or an absurd head raises; aiohttp's transport lets some of its own errors through."""

_LOADING = re.compile(r"\b(?:re|down)?load(?:ing|s)\b|warming up|starting up|not (?:yet )?ready", re.IGNORECASE)
_LONGEST_REFUSAL = 65_536
_REDIRECTS = 3
UNREACHABLE = "The language model cannot be reached; try again."
TOO_LATE = "The language model did not answer in time; try again."
_HINTS = {
    401: "it does not accept the API key",
    403: "it does not allow this model to this key",
    404: "it does not know this model",
}


class Transient(ModelUnavailable):
    """Asking again may help. ``retry_after`` is the provider's own wish, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Refused(Exception):
    """An endpoint said no: with an HTTP ``status``, or within its stream (none). ``text`` is what it said, as it came.

    The provider's own words stay out of what is shown: they may quote the prompt, the key or an address.
    """

    def __init__(self, status: int | None, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.text = status, text
        self.retry_after = retry_after(headers or {})
        super().__init__(f"refused with {status}")

    @property
    def is_loading(self) -> bool:
        """The model is not there yet, and comes if it is waited for."""
        return self.status in (425, 500, 502, 503) and _LOADING.search(self.text) is not None

    def names(self, parameter: str) -> bool:
        return re.search(rf"(?<![A-Za-z0-9]){parameter}(?![A-Za-z0-9])", self.text) is not None

    def translated(self) -> ModelUnavailable:
        status = self.status
        if status is None:
            return Transient(UPSTREAM_ERROR)
        if "insufficient_quota" in self.text:
            return ModelUnavailable("The language model's provider says that its quota is used up.")
        if status == 429:
            return Transient("The language model is overloaded; try again.", self.retry_after)
        if status in _ASK_AGAIN or status >= 500:
            return Transient(f"The language model failed ({status}); try again.", self.retry_after)
        hint = f": {_HINTS[status]}" if status in _HINTS else ""
        return ModelUnavailable(f"The language model refused the request ({status}{hint}).")


async def send(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """The response to ``request``, its body not yet read. A redirect is followed within its origin alone.

    :raises ModelUnavailable: no connection, or a redirect to another origin: it would take key and prompt there
    """
    for _ in range(_REDIRECTS):
        try:
            response = await client.send(request, stream=True)
        except httpx2.TimeoutException as error:
            # aiohttp's transport makes a ConnectTimeout of every connection that does not come about.
            is_dead = isinstance(error, httpx2.ConnectTimeout)
            raise Transient(UNREACHABLE if is_dead else TOO_LATE) from None
        except BROKEN:
            raise Transient(UNREACHABLE) from None
        if not response.has_redirect_location:
            return response
        await response.aclose()
        target = _target(request.url, response.headers["location"])
        if target is None:
            break
        request = client.build_request(request.method, target, headers=request.headers, content=request.content)
    raise ModelUnavailable("The language model's address redirects elsewhere, which is not followed.")


def _target(url: httpx2.URL, location: str) -> httpx2.URL | None:
    """None where it is of another origin, or no address at all."""
    try:
        target = url.join(location)
    except httpx2.InvalidURL:
        return None
    is_same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    return target if is_same else None


async def read_refusal(response: httpx2.Response) -> Refused:
    """What an endpoint says instead of an answer: JSON of any shape, or plain text."""
    said = b""
    try:
        async for data in response.aiter_bytes():
            said += data
            if len(said) > _LONGEST_REFUSAL:
                break
    except BROKEN:
        pass  # its status is enough
    finally:
        await response.aclose()
    return Refused(response.status_code, said.decode("utf-8", "replace"), response.headers)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` in seconds, from either of its forms; ``retry-after-ms`` is OpenAI's finer one."""
    try:
        if "retry-after-ms" in headers:
            return max(float(headers["retry-after-ms"]) / 1000, 0.0)
        return max(float(headers["retry-after"]), 0.0)
    except KeyError:
        return None
    except ValueError:
        return _until(headers.get("retry-after", ""))


def _until(date: str) -> float | None:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max((when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
