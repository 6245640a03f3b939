"""What went wrong upstream, in words that may be shown to anyone, and whether asking again can help."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import msgspec
import openai

from coach.errors import ModelUnavailable

_ASK_AGAIN = frozenset({408, 409, 429})
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


def from_openai(error: openai.APIError) -> ModelUnavailable:
    """The provider's own words stay out of it: they may quote the prompt, the key or an address."""
    if isinstance(error, openai.APITimeoutError):
        return Transient("The language model did not answer in time; try again.")
    if not isinstance(error, openai.APIStatusError):
        return Transient("The language model cannot be reached; try again.")
    status = error.status_code
    if error.code == "insufficient_quota":
        return ModelUnavailable("The language model's provider says that its quota is used up.")
    if status == 429:
        return Transient("The language model is overloaded; try again.", retry_after(error.response.headers))
    if status in _ASK_AGAIN or status >= 500:
        return Transient(f"The language model failed ({status}); try again.", retry_after(error.response.headers))
    hint = f": {_HINTS[status]}" if status in _HINTS else ""
    return ModelUnavailable(f"The language model refused the request ({status}{hint}).")


async def sent(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """The response to ``request``, its body not yet read.

    :raises openai.APIConnectionError: no connection
    """
    try:
        return await client.send(request, stream=True)
    except httpx2.ConnectTimeout:  # what aiohttp's transport makes of every connection that does not come about
        raise openai.APIConnectionError(request=request) from None
    except httpx2.TimeoutException:
        raise openai.APITimeoutError(request) from None
    except httpx2.HTTPError:
        raise openai.APIConnectionError(request=request) from None


async def refusal(response: httpx2.Response) -> openai.APIStatusError:
    """What an endpoint says instead of an answer, as the openai client would raise it."""
    try:
        said = msgspec.json.decode(await response.aread())
    except (httpx2.HTTPError, msgspec.DecodeError, UnicodeDecodeError):
        said = None
    finally:
        await response.aclose()
    body = said.get("error", said) if isinstance(said, dict) else said
    message = body.get("message") if isinstance(body, dict) else None
    return openai.APIStatusError(str(message or response.status_code), response=response, body=body)


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
