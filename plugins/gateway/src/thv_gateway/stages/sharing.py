"""Ask the store that several gateways share about each session, and tell it what becomes of them."""

from __future__ import annotations

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Outcome, Reply, Stage
from thv_gateway.messages.answers import INTERNAL_ERROR, SESSION_NOT_FOUND, failure, refusal
from thv_gateway.messages.versions import Era
from thv_gateway.sessions.sharing import Sharing
from thv_gateway.sessions.store import StoreUnavailable
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["SharingStage"]

_UNAVAILABLE = "session store unavailable"
_RETRY = ((b"retry-after", b"1"),)
_WISHES = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
_LONGEST = 4096


class SharingStage(BuiltIn):
    """Let nobody in whose session the store does not know, and nobody at all while it cannot be asked."""

    stage = Stage.PARSE

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    def is_calm(self, exchange: Arrival, /) -> bool:
        """Say so of what neither opens nor ends a session nor wishes anything for one, while that is surely known."""
        message = exchange.message
        if message is None or message.method in _WISHES or _opens(message):
            return False
        given = exchange.fields.get(b"mcp-session-id", b"").decode("latin-1")
        return exchange.era is Era.MODERN or not given or self._sharing.has_seen(given)

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 404 to a session that has ended anywhere, 503 when nobody can tell."""
        given = exchange.fields.get(b"mcp-session-id", b"").decode("latin-1")
        if exchange.era is Era.MODERN or len(given) > _LONGEST:
            return None
        message = exchange.message
        identifier = exchange.identifier
        try:
            if _opens(message):
                await self._sharing.agree()
            elif given and not await self._sharing.recall(given):
                return refusal(404, SESSION_NOT_FOUND, "Session not found", identifier)
        except StoreUnavailable:
            exchange.fault = "unavailable"
            return refusal(503, INTERNAL_ERROR, _UNAVAILABLE, identifier, _RETRY)
        return None

    async def on_message(self, exchange: Arrival, message: Message, /) -> Message:
        """Keep a session that was opened before its client learns of it."""
        if message.kind is not Kind.RESPONSE or not _opens(exchange.message):
            return message
        try:
            await self._sharing.save_opened()
        except StoreUnavailable:
            exchange.fault = "unavailable"
            return failure(message.id, INTERNAL_ERROR, _UNAVAILABLE)
        return message

    async def on_end(self, exchange: Arrival, outcome: Outcome, /) -> None:
        """Keep what a session has asked for, and the end of one."""
        message = exchange.message
        if not exchange.session or outcome.status >= 300:
            return
        if exchange.method == "DELETE":
            await self._sharing.leave(exchange.session)
        elif message is not None and message.method in _WISHES:
            await self._sharing.save(exchange.session)


def _opens(message: Message | None) -> bool:
    return message is not None and message.method == "initialize" and message.kind is Kind.REQUEST
