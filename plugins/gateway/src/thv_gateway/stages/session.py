"""Check protocol version and session of legacy requests (MCP 2025-11-25, transports: 400 and 404)."""

from __future__ import annotations

import re
from functools import lru_cache

from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import INTERNAL_ERROR, LEGACY_ERROR, SESSION_NOT_FOUND, refusal
from thv_gateway.messages.versions import LEGACY_VERSIONS, Era
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["ServerSessionStage", "SessionStage"]

_LONGEST_SESSION = 4096
_OF_SSE = frozenset({"/sse", "/messages"})
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_VERSIONS = frozenset(version.encode() for version in LEGACY_VERSIONS)
_CODES = {400: LEGACY_ERROR, 404: SESSION_NOT_FOUND, 503: INTERNAL_ERROR}
_RETRY = ((b"retry-after", b"1"),)


class SessionStage(BuiltIn):
    """Check the protocol version and the session of everything but ``initialize``."""

    stage = Stage.PARSE

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an unknown version or a missing session, 404 to an unknown one or somebody else's.

        Both 400s are what makes a client of the stateless era fall back to ``initialize``.
        """
        message = exchange.message
        if exchange.era is Era.MODERN or (message is not None and message.method == "initialize"):
            return None
        version = exchange.fields.get(b"mcp-protocol-version")
        if version is not None and version not in _VERSIONS:
            known = ", ".join(LEGACY_VERSIONS)
            return _refused(exchange, 400, f"Unsupported protocol version (supported: {known})")
        given = exchange.fields.get(b"mcp-session-id")
        session = self._sessions.anonymous() if given is None else self._sessions.find(given.decode("latin-1"))
        if session is None and given is None and exchange.path in _OF_SSE:
            # Its session is behind it, once it has been initialised.
            return None
        if session is None and given is None:
            return _refused(exchange, 400, "Mcp-Session-Id is required")
        if session is None and self._sessions.full:
            exchange.fault = "busy"
            return _refused(exchange, 503, "Too many sessions")
        if session is None or (session.id and session.owner != self._sessions.owner_of(exchange.identity)):
            return _refused(exchange, 404, "Session not found")
        exchange.live = session
        exchange.session = session.id
        return None


class ServerSessionStage(BuiltIn):
    """Note the session that a client names to a server that keeps its sessions itself, and judges them."""

    stage = Stage.PARSE

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an id that is no visible ASCII, 404 to one that was idle for too long or is somebody else's."""
        if exchange.era is Era.MODERN:
            return None
        session = _readable(exchange.fields.get(b"mcp-session-id", b""))
        if session is None:
            return _refused(exchange, 400, "Mcp-Session-Id is not visible ASCII")
        exchange.session = session
        if session and not self._sessions.visit(session, self._sessions.owner_of(exchange.identity)):
            return _refused(exchange, 404, "Session not found")
        return None


@lru_cache(maxsize=256)
def _readable(given: bytes) -> str | None:
    return given.decode("ascii") if len(given) <= _LONGEST_SESSION and _VISIBLE.fullmatch(given) else None


def _refused(exchange: Arrival, status: int, text: str) -> Reply:
    return refusal(status, _CODES[status], text, exchange.identifier, _RETRY if status == 503 else ())
