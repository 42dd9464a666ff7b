"""The HTTP proxy of one outlet: CONNECT, and plain requests with the whole URL."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus

import h11

from thv_core.spi import Verdict, Way
from thv_egress import sockets
from thv_egress.dialing import Unreachable
from thv_egress.forwarding import forward
from thv_egress.ledger import Attempt
from thv_egress.parents import authority
from thv_egress.passages import CLOSED, CROWDED, Passage, Passages
from thv_egress.proxy_requests import NotUnderstood, target_of
from thv_egress.rules import Rules
from thv_egress.wires import Wire, refuse

__all__ = ["ProxyService"]

HEAD_TIMEOUT = 30.0
UNKNOWN = "*"
_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ProxyService:
    """Serves the clients of the proxy; ``idle`` is how many seconds one may keep a connection without a request."""

    __slots__ = ("_idle", "_ledger", "_passages", "_rules")

    def __init__(self, passages: Passages, rules: Rules, idle: float) -> None:
        self._passages, self._ledger = passages, passages.ledger
        self._rules, self._idle = rules, idle

    async def serve(self, client: socket.socket) -> None:
        """Serve one connection: plain requests one after the other, or one tunnel."""
        wire = Wire(client, h11.SERVER)
        patience = HEAD_TIMEOUT
        while True:
            try:
                async with asyncio.timeout(patience):
                    event = await wire.next()
            except TimeoutError:
                return
            except h11.RemoteProtocolError as error:
                await refuse(client, HTTPStatus(error.error_status_hint), f"This is not HTTP/1.1: {error}.")
                return
            if not isinstance(event, h11.Request) or not await self._answer(wire, event):
                return
            wire.state.start_next_cycle()
            patience = self._idle

    def crowded(self, client: socket.socket) -> None:
        """Record a connection that is refused because there are too many; it has not said where it wants to go."""
        del client
        self._ledger.deny(self._ledger.attempt(Way.CONNECT, UNKNOWN), CROWDED)

    async def _answer(self, wire: Wire, request: h11.Request) -> bool:
        """Answer one request; return whether the connection can carry another."""
        try:
            target = target_of(request)
        except NotUnderstood as error:
            await refuse(wire.socket, HTTPStatus.BAD_REQUEST, f"{error}.")
            return False
        attempt = self._ledger.attempt(Way.HTTP if target.path else Way.CONNECT, target.host, target.port)
        decision = self._rules.decide(target.host, target.port)
        if not decision.allowed:
            self._ledger.deny(attempt, decision.reason)
            missing = authority(target.host, target.port)
            await refuse(wire.socket, HTTPStatus.FORBIDDEN, self._denial(attempt, decision.reason, missing))
            return False
        try:
            passage = await self._passages.reach(attempt, decision.rule, tunnelled=not target.path)
        except Unreachable as error:
            refused = error.address if error.verdict is Verdict.DENIED else ""
            missing = authority(refused, target.port) if refused else ""
            await refuse(wire.socket, _status(error), self._denial(attempt, error.reason, missing))
            return False
        if target.path:
            return await forward(wire, request, target, passage)
        await self._tunnel(wire, passage)
        return False

    async def _tunnel(self, wire: Wire, passage: Passage) -> None:
        try:
            await sockets.send(wire.socket, _CONNECTED)
            await self._passages.relay(passage, wire.socket, wire.state.trailing_data[0])
        finally:
            passage.abort(CLOSED)

    def _denial(self, attempt: Attempt, reason: str, missing: str = "") -> str:
        target = authority(attempt.host, attempt.port)
        text = f"The MCP server {self._ledger.workload} did not reach {target}: {reason}."
        return f"{text}\nIts permission profile can allow that: --allow-network {missing}" if missing else text


def _status(error: Unreachable) -> HTTPStatus:
    if error.verdict is Verdict.DENIED:
        return HTTPStatus.FORBIDDEN
    return HTTPStatus.GATEWAY_TIMEOUT if error.late else HTTPStatus.BAD_GATEWAY
