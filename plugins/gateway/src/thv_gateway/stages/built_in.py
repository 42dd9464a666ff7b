"""The stages that every route has, and those that need no module of their own."""

from __future__ import annotations

from thv_core.model.identity import LOCAL_USER
from thv_core.model.route import Route
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.eras.stage import EraStage, ModernMethodStage
from thv_gateway.messages.answers import refusal
from thv_gateway.messages.parsing import Malformed, parse_body
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, BuiltIn, Step
from thv_gateway.stages.head import BodyLimitStage, HeadStage
from thv_gateway.stages.origin import OriginStage
from thv_gateway.stages.session import ServerSessionStage, SessionStage
from thv_gateway.stages.sharing import SharingStage

__all__ = ["built_in_steps"]


def built_in_steps(route: Route, sessions: Sessions, origin: OriginStage) -> list[Step]:
    """Return the built-in stages of a route; the sessions of a server that speaks HTTP are its own."""
    session = SessionStage(sessions) if route.transport in ("stdio", "sse") else ServerSessionStage(sessions)
    heads: list[Step] = [origin, ModernMethodStage(), HeadStage(stateless=route.terms.stateless), BodyLimitStage()]
    shared: list[Step] = [SharingStage(sessions.sharing)] if sessions.sharing is not None else []
    return [*heads, LocalUserStage(), ParseStage(), EraStage(), *shared, session]


class LocalUserStage(BuiltIn):
    """Take whoever reaches a loopback listener for the user of this machine."""

    stage = Stage.AUTHENTICATE

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Let every request pass."""
        exchange.identity = LOCAL_USER
        return None


class ParseStage(BuiltIn):
    """Parse the body of a POST, once."""

    stage = Stage.PARSE

    def at_once(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to what is not exactly one JSON-RPC message."""
        if exchange.method != "POST":
            return None
        try:
            exchange.message = exchange.parsed = parse_body(exchange.body)
        except Malformed as error:
            return refusal(400, error.code, error.text, error.identifier)
        return None
