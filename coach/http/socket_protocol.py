"""Websockets as uvicorn speaks them, bounded: what a reader leaves unread, and how long it may take to leave."""

from __future__ import annotations

import socket
from asyncio.transports import BaseTransport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from coach.http.limits import CHAT_BODY

UNREAD = 32 * 1024
"""Bytes that the kernel keeps for a reader (it doubles them); left alone it is 4 MiB for each that does not read."""

CLOSING = 5.0
"""Seconds in which the other side may answer a close frame."""

GOING_AWAY = 1001


class BoundedSocketProtocol(WebSocketsSansIOProtocol):
    """The stock protocol waits for the reader before it closes, and waits for ever if the reader never reads."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        if (carrier := transport.get_extra_info("socket")) is not None:
            carrier.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The stock protocol answers only what its parser takes for a request, and waits on.
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._leave()
            self.transport.close()

    async def send(self, message: Any) -> None:
        if message["type"] != "websocket.close" or not self.handshake_complete:
            await super().send(message)
            return
        # What waits for the reader has been cancelled before (``Connection.close``): nothing is sent out of turn.
        self.writable.set()
        await super().send(message)
        self._leave()

    def shutdown(self) -> None:
        """Sockets that are open when the server stops get 1001 instead of 1012."""
        self.stop_keepalive()
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": GOING_AWAY})
            self.conn.send_close(GOING_AWAY)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self._leave()
        elif not self.close_sent:
            super().shutdown()

    def keepalive_timeout(self) -> None:
        """A client that answers no ping reads nothing either. Unread data would keep the connection open for ever."""
        super().keepalive_timeout()
        self.transport.abort()

    def _leave(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(CLOSING, self.transport.abort)


SOCKET_OPTIONS: dict[str, Any] = {
    "ws": BoundedSocketProtocol,
    "ws_max_size": CHAT_BODY,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # A window a socket would cost more memory than all else of it; an answer is read as it is written.
    "ws_per_message_deflate": False,
}
"""What uvicorn is told about websockets."""
