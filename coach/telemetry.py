"""Log lines: one event each, with the request's id; JSON where no one is watching. Never what a user wrote."""

from __future__ import annotations

import logging
import re
import sys
from uuid import uuid4

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
# Secrets that a library may put into its messages: tokens, or a database's password.
_SECRETS = re.compile(
    r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=://)[^\s/@:]*:[^\s/@]*(?=@)|(?<=[?&]ticket=)[^&\s]+|sk-[\w-]{16,}"
)
# PostgreSQL quotes the values of rows and parameters in its messages, so in a traceback its class has to do.
_ROW_VALUES = re.compile(r"^(psycopg\.[\w.]+:).*(?:\n(?!\n|Traceback|The above|During handling).*)*", re.MULTILINE)


def begin_request(offered: bytes | None) -> str:
    """Take the caller's request id where it is harmless, else make one; it stands in every line until the next."""
    taken = offered.decode() if offered is not None and _ACCEPTED_ID.fullmatch(offered) else uuid4().hex
    clear_contextvars()
    bind_contextvars(request_id=taken)
    return taken


def request_id() -> str:
    """The id of the request being answered; empty outside of one."""
    return str(get_contextvars().get("request_id", ""))


def configure_logging(level: str = "info") -> None:
    """Send structlog and the standard library's loggers through the same processors to standard error."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: the pretty ones print local variables, and so user text.
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("uvicorn", "httpx", "httpx2", "httpcore", "openai", "psycopg.pool"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _clean(value) if isinstance(value, str) else value for key, value in event.items()}


def _clean(text: str) -> str:
    return _ROW_VALUES.sub(r"\1 [redacted]", _SECRETS.sub("[redacted]", text))
