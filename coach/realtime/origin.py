"""Which pages may open a socket. A browser sends no preflight before one, so this is the only check."""

from __future__ import annotations

from collections.abc import Collection, Sequence

Headers = Sequence[tuple[bytes, bytes]]

_OWN = {"ws": (b"http", b"https"), "wss": (b"https",)}
"""By our scheme. A proxy that ends TLS may not say so: then we are ws to a page of https."""


def is_allowed_origin(headers: Headers, scheme: str, allowed: Collection[bytes]) -> bool:
    """Whether the handshake comes from no page at all, from one of this server's own, or from an allowed origin.

    Compared byte by byte with what a browser would send (RFC 6454, section 6.2: lower case, no default port, nothing
    after the host). Whatever is written otherwise was not written by a browser, and gains nothing by it.
    """
    origins = [value for name, value in headers if name == b"origin"]
    if not origins:
        return True
    hosts = [value for name, value in headers if name == b"host"]
    if len(origins) > 1 or len(hosts) != 1:
        return False
    return origins[0] in allowed or origins[0] in [own + b"://" + hosts[0] for own in _OWN.get(scheme, ())]
