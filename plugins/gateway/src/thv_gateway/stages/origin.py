"""Refuse web pages, and heads that two readers could read differently (MCP 2025-11-25, transports; RFC 9110)."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from thv_core.model.reach import canonical_host
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INVALID_REQUEST, refusal
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["OriginStage", "Own"]

_LOOPBACK = [b"localhost", b"127.0.0.1", b"[::1]"]
_SINGLE = frozenset({b"host", b"authorization", b"content-type", b"mcp-session-id"})

_REPEATED = refusal(400, INVALID_REQUEST, "A header is given more than once")
_FOREIGN_HOST = refusal(403, INVALID_REQUEST, "Host not allowed")
_FOREIGN_ORIGIN = refusal(403, INVALID_REQUEST, "Origin not allowed")


@dataclass(frozen=True, slots=True)
class Own:
    """How a listener is named: by its port, over TLS or not; a Unix socket (``is_local``) has no name."""

    port: int
    secure: bool = False
    is_local: bool = False


class OriginStage(BuiltIn):
    """Refuse web pages: ``Host`` must be a name of ours, and ``Origin``, when there is one, must be allowed.

    :param own: the listener.
    :param allowed: the names of hosts, ``.suffix`` for all below it; those of loopback when there are none.
    :param origins: the only origins that are allowed; without any it is this very listener.
    """

    stage = Stage.ORIGIN
    of_heads = True

    def __init__(self, own: Own, allowed: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        names = [_written(name) for name in allowed] or _LOOPBACK
        self._port = b":%d" % own.port
        self._scheme = b"https://" if own.secure else b"http://"
        self._is_local = own.is_local
        self._names = frozenset(name for name in names if not name.startswith(b"."))
        self._suffixes = tuple(name for name in names if name.startswith(b"."))
        self._origins = frozenset(_origin(each) for each in origins)

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 403 to a foreign host or origin, 400 to another header that is given twice."""
        fields = exchange.fields
        if len(fields) != len(exchange.headers):
            names = [name for name, _ in exchange.headers if name in _SINGLE or name == b"origin"]
            if names.count(b"origin") > 1:
                return _FOREIGN_ORIGIN
            if len(names) != len(set(names)):
                return _REPEATED
        if not (self._is_local or self._is_ours(fields.get(b"host", b"").lower().removesuffix(self._port))):
            return _FOREIGN_HOST
        origin = fields.get(b"origin")
        return None if origin is None or self._is_allowed(origin.lower()) else _FOREIGN_ORIGIN

    def _is_ours(self, name: bytes) -> bool:
        return name in self._names or (name.endswith(self._suffixes) and name not in self._suffixes)

    def _is_allowed(self, origin: bytes) -> bool:
        if self._origins or self._is_local:
            return origin in self._origins
        name = origin.removeprefix(self._scheme).removesuffix(self._port)
        return origin == self._scheme + name + self._port and self._is_ours(name)


def _origin(value: str) -> bytes:
    """Return an origin as browsers write it: in lower case, without a final slash (RFC 6454, 6.2)."""
    return value.lower().removesuffix("/").encode("ascii", "replace")


def _written(name: str) -> bytes:
    """Return a name of ``allow_host`` as it is written in a ``Host`` header."""
    below = "." if name.startswith((".", "*.")) else ""
    bare = name.removeprefix("*").removeprefix(".").lower()
    if ":" in bare:
        with contextlib.suppress(ValueError):
            bare = f"[{ipaddress.IPv6Address(bare.removeprefix('[').removesuffix(']'))}]"
    return (below + (canonical_host(bare) or bare)).encode("ascii", "replace")
