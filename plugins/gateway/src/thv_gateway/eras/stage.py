"""The stage that finds out which era a request speaks, and holds the modern one to its rules."""

from __future__ import annotations

from thv_core.spi.middleware import Reply, Stage
from thv_gateway.eras.classification import era_of
from thv_gateway.eras.ladder import judged, repeated
from thv_gateway.messages.answers import INVALID_REQUEST, LEGACY_ERROR, refusal
from thv_gateway.messages.versions import Era
from thv_gateway.stages.chain import Arrival, BuiltIn

__all__ = ["EraStage", "ModernMethodStage"]

_VERSION = b"mcp-protocol-version"
_ONLY_POST = ((b"allow", b"POST"),)


class ModernMethodStage(BuiltIn):
    """Refuse what is no POST in the modern era, which has neither streams of sessions nor ends of them."""

    stage = Stage.ORIGIN
    of_heads = True

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 405."""
        if exchange.method == "POST" or era_of(None, exchange.fields.get(_VERSION)) is Era.LEGACY:
            return None
        return refusal(405, LEGACY_ERROR, "Method not allowed", headers=_ONLY_POST)


class EraStage(BuiltIn):
    """Set the era of a request; the stages behind it, and whoever answers, go by that."""

    stage = Stage.PARSE

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to a request of the modern era that breaks one of its rules."""
        message = exchange.message
        exchange.era = era_of(message, exchange.fields.get(_VERSION))
        if message is None:
            return None
        if exchange.era is Era.MODERN:
            return judged(message, exchange.headers, exchange.fields)
        if len(exchange.fields) != len(exchange.headers) and repeated(exchange.headers):
            return refusal(400, INVALID_REQUEST, "A header is given more than once", message.id)
        return None
