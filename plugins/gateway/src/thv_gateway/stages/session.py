"""Check protocol version and session of legacy requests (MCP 2025-11-25, transports: 400 and 404)."""

from __future__ import annotations

import re

from thv_core.model.message import Kind
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import LEGACY_ERROR, SESSION_NOT_FOUND, refusal
from thv_gateway.messages.versions import LEGACY_VERSIONS
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["ServerSessionStage", "SessionStage"]

_LONGEST_SESSION = 4096
_VISIBLE = re.compile(rb"[\x21-\x7e]*")
_VERSIONS = frozenset(version.encode() for version in LEGACY_VERSIONS)


class SessionStage(BuiltIn):
    """Check the protocol version and the session of everything but ``initialize``."""

    stage = Stage.PARSE

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an unknown version or a missing session, 404 to an unknown one.

        Both 400s are what makes a client of the stateless era fall back to ``initialize``.
        """
        message = exchange.message
        identifier = message.id if message and message.kind is Kind.REQUEST else b""
        if message is not None and message.method == "initialize":
            return None
        version = exchange.fields.get(b"mcp-protocol-version")
        if version is not None and version not in _VERSIONS:
            known = ", ".join(LEGACY_VERSIONS)
            return refusal(400, LEGACY_ERROR, f"Unsupported protocol version (supported: {known})", identifier)
        given = exchange.fields.get(b"mcp-session-id")
        session = self._sessions.anonymous() if given is None else self._sessions.find(given.decode("latin-1"))
        if session is None and given is None:
            return refusal(400, LEGACY_ERROR, "Mcp-Session-Id is required", identifier)
        if session is None:
            return refusal(404, SESSION_NOT_FOUND, "Session not found", identifier)
        exchange.live = session
        exchange.session = session.id
        return None


class ServerSessionStage(BuiltIn):
    """Note the session that a client names to a server that keeps its sessions itself, and judges them."""

    stage = Stage.PARSE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to an id that is no visible ASCII."""
        given = exchange.fields.get(b"mcp-session-id", b"")
        if len(given) > _LONGEST_SESSION or not _VISIBLE.fullmatch(given):
            return refusal(400, LEGACY_ERROR, "Mcp-Session-Id is not visible ASCII")
        exchange.session = given.decode("ascii")
        return None
