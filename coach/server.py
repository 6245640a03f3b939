"""The server process: uvicorn with a drain of our own, and its siblings where several share the socket.

The stock shutdown waits for connections only, then closes the pool: a turn whose reader left would lose its ending.
Here, on the first signal: stop accepting, let turns finish for a while, interrupt and store the rest, close what is
open, and only then the database. A second signal does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coach.errors import CoachError, Misconfigured
from coach.settings import Settings
from coach.siblings import HANDLED, STARTUP_FAILED, Siblings
from coach.telemetry import configure_logging

log = structlog.get_logger(__name__)

FLUSH = 5
"""Seconds for the last bytes to reach slow readers once every turn has ended, if ``AFTERWARDS`` leaves as many."""

AFTERWARDS = 4.0
"""Seconds after the grace in which answers are stored (``coach/chat/turns.py``) and then flushed. After that the
process ends, whatever still hangs."""

Ready = Callable[[str], None]


def serve(
    settings: Settings,
    host: str,
    port: int,
    workers: int = 1,
    ready: Ready = lambda address: None,
    *,
    embeds: bool = True,
) -> int:
    """Serve until a signal comes; the exit code. ``ready`` hears the address once a single process answers there.

    Unless ``embeds`` is false, each process has a worker inside. All of them: their claims skip each other's rows.

    :raises Misconfigured: the address cannot be listened on.
    """
    configure_logging(settings.log_level)
    with listen(host, port) as listener:
        if workers == 1:
            return work(settings, listener, ready=ready, embeds=embeds)
        return Siblings(lambda parent: work(settings, listener, parent, embeds=embeds), workers).run()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes any free one."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise Misconfigured(
            f"--host/--port: cannot listen on {host}:{port} ({error.strerror}). Try --port 0."
        ) from None
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def work(
    settings: Settings,
    listener: socket.socket,
    parent: int | None = None,
    ready: Ready = lambda address: None,
    *,
    embeds: bool = True,
) -> int:
    """One process that serves until a signal comes or ``parent`` is gone. A wrong setting is one line, no traceback."""
    import uvloop

    try:
        uvloop.run(_serve(settings, listener, parent, ready, embeds))
    except CoachError as error:
        sys.stderr.write(f"{error}\n")
        return STARTUP_FAILED
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(settings: Settings, listener: socket.socket, parent: int | None, ready: Ready, embeds: bool) -> None:
    from coach.app import run_app

    async with run_app(settings, embeds=embeds) as app:
        config = protocols(app.asgi, settings)
        # Freeze the objects of the start. Each full collection went through them again and delayed all turns by 0.07 s.
        gc.collect()
        gc.freeze()
        server = DrainingServer(config, app.drain, settings.drain_grace, parent, ready)
        await server.serve(sockets=[listener])


def protocols(app: Callable[..., Any], settings: Settings) -> uvicorn.Config:
    """How connections are spoken to, and what bounds them."""
    from coach.http.protocol import Timeouts, bounded_by
    from coach.http.socket_protocol import SOCKET_OPTIONS

    return uvicorn.Config(
        app,
        lifespan="off",
        http=bounded_by(Timeouts(settings.head_timeout, settings.body_timeout, settings.idle_timeout)),
        **SOCKET_OPTIONS,
        log_config=None,
        access_log=False,
        server_header=False,
    )


class DrainingServer(uvicorn.Server):
    """uvicorn, ending as the module's docstring says."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[float], Awaitable[None]],
        grace: float,
        parent: int | None,
        ready: Ready,
    ) -> None:
        super().__init__(config)
        self._drain, self._grace, self._parent, self._ready = drain, grace, parent, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        address = address_of(sockets[0]) if sockets else ""
        log.info("serving", address=address, pid=os.getpid())
        self._ready(address)

    async def on_tick(self, counter: int) -> bool:
        orphaned = self._parent is not None and os.getppid() != self._parent
        return await super().on_tick(counter) or orphaned

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("draining", grace=self._grace)
        leaves_at = asyncio.get_running_loop().time() + self._grace + AFTERWARDS
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            # Sockets are sent away one by one, each after its turns (``coach/realtime/hub.py``).
            if isinstance(connection, HttpToolsProtocol):
                connection.shutdown()
        await self._drained()
        left = leaves_at - asyncio.get_running_loop().time()
        self.config.timeout_graceful_shutdown = max(1, min(FLUSH, int(left)))
        await super().shutdown(sockets=sockets)
        log.info("stopped", pid=os.getpid())

    async def _drained(self) -> None:
        draining = asyncio.ensure_future(self._drain(self._grace))
        while not draining.done() and not self.force_exit:
            await asyncio.wait([draining], timeout=0.1)
        if self.force_exit:
            draining.cancel()
        with suppress(asyncio.CancelledError):
            await draining

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike the stock one, do not raise the signal again at the end: a drained server has ended well."""
        before = {which: signal.signal(which, self.handle_exit) for which in HANDLED}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
