"""``/metrics``: for a Prometheus on the same machine, or one with the token."""

from __future__ import annotations

import os
import secrets
from ipaddress import ip_address
from typing import Any

import structlog
from litestar import Request, Response, get
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from coach.errors import DatabaseUnavailable, Forbidden, NotFound, Unauthenticated
from coach.http.declared import declares
from coach.identity.guards import bearer
from coach.metrics import CONNECTIONS, JOBS_HELD, QUEUE_AGE, QUEUE_ROWS, TURNS_RUNNING
from coach.pipeline.job_runner import held
from coach.pipeline.status import queue_age, queue_rows
from coach.services import AllServices, Services
from coach.settings import Settings
from coach.values.clock import utc_now

log = structlog.get_logger(__name__)

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


@get(
    "/metrics",
    summary="Figures for Prometheus",
    tags=["Operators"],
    media_type="text/plain",
    **declares(problems=(Unauthenticated, Forbidden)),
)
async def metrics(request: Request[Any, Any, Any], services: AllServices) -> Response[bytes]:
    """From loopback, or with `COACH_METRICS_TOKEN` as bearer token from anywhere."""
    if request.scope["raw_path"] != b"/metrics":
        # A proxy that keeps strangers from this address does so by its letters.
        raise NotFound("There is nothing at this address.")
    _admit(request, services.settings)
    await _measure(services)
    return Response(generate_latest(_registry()), headers={"content-type": CONTENT_TYPE_LATEST})


def _admit(request: Request[Any, Any, Any], settings: Settings) -> None:
    """A request from a proxy on this machine comes from loopback too. Its forwarding headers show that, and it needs
    the token."""
    if settings.metrics_token is not None and "authorization" in request.headers:
        if not secrets.compare_digest(bearer(request).encode(), settings.metrics_token.get_secret_value().encode()):
            raise Unauthenticated("This is not the metrics token.")
        return
    passed_on = any(name in request.headers for name in FORWARDED)
    if passed_on or request.client is None or not _is_loopback(request.client.host):
        raise Forbidden("Metrics are read from this machine, or with COACH_METRICS_TOKEN as bearer token.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _measure(services: Services) -> None:
    """What is not counted as it happens."""
    TURNS_RUNNING.set(services.turns.running)
    for name, value in services.db.connections().items():
        CONNECTIONS.labels(name).set(value)
    operators = services.operators
    if operators is None:
        return
    try:
        rows = await queue_rows(operators)
        QUEUE_AGE.set(await queue_age(operators, utc_now()))
        JOBS_HELD.set(len(await held(operators)))
    except DatabaseUnavailable as error:
        log.warning("queue_not_measured", reason=str(error))
        return
    QUEUE_ROWS.labels("waiting").set(rows.waiting)
    QUEUE_ROWS.labels("failed").set(rows.failed)


def _registry() -> CollectorRegistry:
    """Several processes on one socket write their figures into one directory (``coach/server.py``)."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
