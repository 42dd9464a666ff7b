"""Refuse web pages, and heads that two readers could read differently (MCP 2025-11-25, transports; RFC 9110)."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable

from thv_core.model.reach import canonical_host
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INVALID_REQUEST, refusal
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["OriginStage"]

_LOOPBACK = [b"localhost", b"127.0.0.1", b"[::1]"]
_SINGLE = frozenset({b"host", b"origin", b"authorization", b"content-type", b"mcp-session-id", b"mcp-protocol-version"})


class OriginStage(BuiltIn):
    """Refuse web pages: ``Host`` must be a name of ours, and ``Origin``, when there is one, this very listener.

    :param allowed: the names, ``.suffix`` for all below it; those of loopback when there are none.
    """

    stage = Stage.ORIGIN

    def __init__(self, port: int, allowed: Iterable[str] = ()) -> None:
        names = [_written(name) for name in allowed] or _LOOPBACK
        self._port = b":%d" % port
        self._names = frozenset(name for name in names if not name.startswith(b"."))
        self._suffixes = tuple(name for name in names if name.startswith(b"."))

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 403 to a foreign host or origin, 400 to a header that is given twice."""
        fields = exchange.fields
        if len(fields) != len(exchange.headers) and _repeats(exchange):
            return refusal(400, INVALID_REQUEST, "A header is given more than once")
        if not self._is_ours(fields.get(b"host", b"").lower().removesuffix(self._port)):
            return refusal(403, INVALID_REQUEST, "Host not allowed")
        origin = fields.get(b"origin")
        if origin is not None and not self._is_own_origin(origin.lower()):
            return refusal(403, INVALID_REQUEST, "Origin not allowed")
        return None

    def _is_ours(self, name: bytes) -> bool:
        return name in self._names or (name.endswith(self._suffixes) and name not in self._suffixes)

    def _is_own_origin(self, origin: bytes) -> bool:
        name = origin.removeprefix(b"http://").removesuffix(self._port)
        return origin == b"http://" + name + self._port and self._is_ours(name)


def _written(name: str) -> bytes:
    """Return a name of ``allow_host`` as it is written in a ``Host`` header."""
    below = "." if name.startswith((".", "*.")) else ""
    bare = name.removeprefix("*").removeprefix(".").lower()
    if ":" in bare:
        with contextlib.suppress(ValueError):
            bare = f"[{ipaddress.IPv6Address(bare.removeprefix('[').removesuffix(']'))}]"
    return (below + (canonical_host(bare) or bare)).encode("ascii", "replace")


def _repeats(exchange: Arrival) -> bool:
    names = [name for name, _ in exchange.headers if name in _SINGLE]
    return len(names) != len(set(names))
