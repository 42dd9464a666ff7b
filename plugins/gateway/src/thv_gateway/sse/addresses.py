"""The URL to which a client of SSE is told to post its messages."""

from __future__ import annotations

import re

from thv_core.model.route import Terms
from thv_gateway.stages.chain import Arrival

__all__ = ["posting_url"]

_AUTHORITY = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~%-]+)*")
_SCHEMES = frozenset({"http", "https"})


def posting_url(arrival: Arrival, terms: Terms, session: str) -> bytes:
    """Return the URL for the messages of a new stream, as the client reaches this listener.

    ``Host`` was judged before; the headers of a proxy are believed where the terms say so, each as far as it is well
    formed.
    """
    scheme = "https" if arrival.secure else "http"
    authority = arrival.fields.get(b"host", b"").decode("latin-1")
    prefix = terms.endpoint_prefix.rstrip("/")
    if terms.trust_proxy_headers:
        said = _Forwarded(arrival)
        scheme = said.scheme or scheme
        authority = said.authority or authority
        prefix = prefix or said.prefix
    return f"{scheme}://{authority}{prefix}{arrival.prefix}/messages?session_id={session}".encode("latin-1")


class _Forwarded:
    """What the nearest proxy says of how the client reached it."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival

    @property
    def scheme(self) -> str:
        said = self._said(b"x-forwarded-proto").lower()
        return said if said in _SCHEMES else ""

    @property
    def authority(self) -> str:
        host, port = self._said(b"x-forwarded-host"), self._said(b"x-forwarded-port")
        has_port = ":" in host.rpartition("]")[2]
        said = f"{host}:{port}" if host and port and not has_port else host
        return said if _AUTHORITY.fullmatch(said) else ""

    @property
    def prefix(self) -> str:
        said = self._said(b"x-forwarded-prefix").rstrip("/")
        return said if _PREFIX.fullmatch(said) else ""

    def _said(self, name: bytes) -> str:
        return self._arrival.fields.get(name, b"").decode("latin-1").partition(",")[0].strip()
