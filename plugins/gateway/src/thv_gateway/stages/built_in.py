"""The stages that every route has, and those that need no module of their own."""

from __future__ import annotations

from thv_core.model.identity import LOCAL_USER
from thv_core.model.route import Route
from thv_core.spi.middleware import Reply, Stage
from thv_gateway.messages.answers import refusal
from thv_gateway.messages.parsing import Malformed, parse_body
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, BuiltIn, Step
from thv_gateway.stages.head import BodyLimitStage, HeadStage
from thv_gateway.stages.origin import OriginStage
from thv_gateway.stages.session import ServerSessionStage, SessionStage

__all__ = ["built_in_steps"]


def built_in_steps(route: Route, sessions: Sessions) -> list[Step]:
    """Return the built-in stages of a route; the sessions of a server that speaks HTTP are its own."""
    session = SessionStage(sessions) if route.transport == "stdio" else ServerSessionStage()
    origin = OriginStage(route.port, route.allow_host)
    return [origin, HeadStage(), BodyLimitStage(), LocalUserStage(), ParseStage(), session]


class LocalUserStage(BuiltIn):
    """Take whoever reaches a loopback listener for the user of this machine."""

    stage = Stage.AUTHENTICATE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Let every request pass."""
        exchange.identity = LOCAL_USER
        return None


class ParseStage(BuiltIn):
    """Parse the body of a POST, once."""

    stage = Stage.PARSE

    async def on_request(self, exchange: Arrival, /) -> Reply | None:
        """Answer 400 to what is not exactly one JSON-RPC message."""
        if exchange.method != "POST":
            return None
        try:
            exchange.message = parse_body(exchange.body)
        except Malformed as error:
            return refusal(400, error.code, error.text)
        return None
