"""Find out how a server somewhere else speaks (MCP 2026-07-28, basic/versioning; 2025-11-25, backwards compatibility).

A request of the modern revision is sent, then ``initialize``, then the stream of the HTTP+SSE transport is asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Generator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from thv_core import __version__
from thv_core.model.run_config import RunConfig
from thv_core.services.serving import forward_headers
from thv_supervisor.event_stream import MOST_BYTES, events

__all__ = ["spoken"]

PROBE_SECONDS = 5.0
"""How long each answer may be waited for, and each connection last: one that never stops saying nothing among them."""

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
MODERN_ERRORS = (-32020, -32021, -32022)

_CLIENT = {"name": "thv", "version": __version__}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": _CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": _META}}
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": _CLIENT},
}
_JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def spoken(config: RunConfig, values: Mapping[str, str]) -> str:
    """Return the transport of a server, ``streamable-http`` or ``sse``; of one that does not answer, the former.

    :param values: of the secrets that its headers need, by the names that the route has for them.
    """
    probe = _Probe(config, values)
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        if not probe.takes_posts() and probe.has_stream():
            return "sse"
    return "streamable-http"


class _Probe:
    """Asks one server, each time on a connection of its own."""

    def __init__(self, config: RunConfig, values: Mapping[str, str]) -> None:
        parts = urlsplit(config.remote_url)
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._place = (parts.hostname or "", parts.port)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        carried = forward_headers(config)
        self._headers = {each.name: values[each.secret] if each.secret else each.value for each in carried}

    def takes_posts(self) -> bool:
        """Tell whether the endpoint answers a request that is posted to it, be it with a refusal of its own."""
        modern = {"mcp-protocol-version": MODERN, "mcp-method": "server/discover"}
        status, answer = self._posted(_DISCOVER, modern)
        if status == 200 or (status == 400 and _code(answer) in MODERN_ERRORS):
            return True
        status, _ = self._posted(_INITIALIZE, {})
        return status not in (400, 404, 405)

    def has_stream(self) -> bool:
        """Tell whether a GET begins with the event that names where to post."""
        with self._connected() as connection:
            connection.request("GET", self._path, headers={**self._headers, "accept": "text/event-stream"})
            response = connection.getresponse()
            if response.status != 200 or "text/event-stream" not in response.headers.get("content-type", ""):
                return False
            first = next((each for each in events(response) if each.data), None)
            return first is not None and first.kind == "endpoint"

    def _posted(self, message: object, headers: Mapping[str, str]) -> tuple[int, bytes]:
        with self._connected() as connection:
            body = json.dumps(message).encode()
            connection.request("POST", self._path, body, {**self._headers, **_JSON, **headers})
            with connection.getresponse() as response:
                if session := response.headers.get("mcp-session-id"):
                    self._leave(session)
                is_short = response.status != 200 and (response.length or 0) <= MOST_BYTES
                return response.status, response.read(MOST_BYTES) if is_short else b""

    @contextlib.contextmanager
    def _connected(self) -> Generator[http.client.HTTPConnection]:
        with contextlib.closing(self._kind(*self._place, timeout=PROBE_SECONDS)) as connection:
            connection.connect()
            cut = threading.Timer(PROBE_SECONDS, _cut, (connection.sock,))
            cut.start()
            try:
                yield connection
            finally:
                cut.cancel()
                cut.join()

    def _leave(self, session: str) -> None:
        """End a session that was only opened to see whether it can be."""
        with contextlib.suppress(OSError, http.client.HTTPException), self._connected() as connection:
            head = {**self._headers, "mcp-session-id": session, "mcp-protocol-version": LEGACY}
            connection.request("DELETE", self._path, headers=head)
            connection.getresponse().close()


def _cut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _code(body: bytes) -> object:
    try:
        message: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    known = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
    error: object = known.get("error")
    return cast("dict[str, Any]", error).get("code") if isinstance(error, dict) else None
