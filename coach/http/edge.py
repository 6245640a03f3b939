"""The outermost layer: request ids, log lines, security headers, CORS."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, ReceiveMessage, Scope, Send

from coach.errors import Refused
from coach.telemetry import begin_request

log = structlog.get_logger(__name__)

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SECURITY = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_NO_STORE = (b"cache-control", b"no-store")
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED = b"x-request-id, retry-after, etag"
_OURS = {"authorization", "content-type", "idempotency-key", "if-match", "x-request-id", "x-conversation-id"}
_CLIENTS = {"user-agent", "openai-organization", "openai-project", "openai-beta"}
"""What the stock clients of OpenAI's protocols add in a browser."""
_ALLOWED = _OURS | _CLIENTS

Headers = list[tuple[bytes, bytes]]


class Edge:
    """Wraps the whole application, so that nothing is answered past it."""

    def __init__(self, app: ASGIApp, allowed_origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = {origin.encode() for origin in allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        sent = dict[bytes, bytes](scope["headers"])
        if scope["method"] == "HEAD":
            # the server still sees HEAD and sends no body
            scope = {**scope, "method": "GET"}
        request_id = begin_request(sent.get(b"x-request-id")).encode()
        added = [*_SECURITY, (b"x-request-id", request_id), *self._cors(sent.get(b"origin"))]
        status, is_whole = 0, False

        async def receive_whole() -> ReceiveMessage:
            nonlocal is_whole
            message = await receive()
            if message["type"] == "http.request":
                is_whole = not message.get("more_body", False)
            elif not is_whole and not status:
                # The framework would call it an internal error of ours.
                raise Refused("The client left before its request was whole.")
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(message, added)
            await send(message)

        try:
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in sent:
                await _preflight(sent, allowed=self._allows(sent.get(b"origin")), send=send_with_headers)
            else:
                await self._app(scope, receive_whole, send_with_headers)
        finally:
            _log(scope, status, began)

    def _allows(self, origin: bytes | None) -> bool:
        return origin is not None and origin in self._origins

    def _cors(self, origin: bytes | None) -> Headers:
        if not self._origins:
            return []
        vary = (b"vary", b"Origin")
        if origin is None or not self._allows(origin):
            return [vary]
        return [vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED)]


def _complete(message: HTTPResponseStartEvent, added: Headers) -> None:
    headers = [(name.lower(), value) for name, value in message["headers"]]
    is_cached = any(name == b"cache-control" for name, _ in headers)
    message["headers"] = [*headers, *added, *(() if is_cached else (_NO_STORE,))]


async def _preflight(sent: dict[bytes, bytes], *, allowed: bool, send: Send) -> None:
    """Answer a preflight request."""
    wanted = sent.get(b"access-control-request-headers", b"").decode("latin-1").lower().split(",")
    granted = [name for name in map(str.strip, wanted) if name in _ALLOWED or name.startswith("x-stainless-")]
    headers: Headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", ", ".join(granted).encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers if allowed else []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _log(scope: Scope, status: int, began: float) -> None:
    """Log one line a request: its path, never its content. Probes are left out, since they come every few seconds."""
    milliseconds = round((time.perf_counter() - began) * 1000)
    write = log.debug if scope["path"].startswith("/health/") else log.info
    write("request", method=scope.get("method"), path=scope["path"], status=status, ms=milliseconds)
