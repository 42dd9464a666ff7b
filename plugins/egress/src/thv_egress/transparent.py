"""Transparent connections: a program connected to an address of the pool, and the address gives the name back."""

from __future__ import annotations

import ipaddress
import socket

from thv_core.spi import Way
from thv_egress import sockets
from thv_egress.dialing import Unreachable
from thv_egress.names import PoolNames
from thv_egress.passages import CROWDED, Passages
from thv_egress.rules import Rules

__all__ = ["TransparentService"]


class TransparentService:
    """Serves what comes to the ports of the pool."""

    __slots__ = ("_ledger", "_names", "_passages", "_rules")

    def __init__(self, passages: Passages, rules: Rules, names: PoolNames) -> None:
        self._passages, self._ledger = passages, passages.ledger
        self._rules, self._names = rules, names

    async def serve(self, client: socket.socket) -> None:
        """Connect a client to the host whose name its address stands for; reset it when that cannot be."""
        host, port = self._target(client)
        if not host:
            sockets.reset(client)
            return
        attempt = self._ledger.attempt(Way.NAME, host, port)
        decision = self._rules.decide(host, port)
        if not decision.allowed:
            self._ledger.deny(attempt, decision.reason)
            sockets.reset(client)
            return
        try:
            passage = await self._passages.reach(attempt, decision.rule)
        except Unreachable:
            sockets.reset(client)
            return
        await self._passages.relay(passage, client)

    def crowded(self, client: socket.socket) -> None:
        """Record a connection that is refused because there are too many."""
        host, port = self._target(client)
        if host:
            self._ledger.deny(self._ledger.attempt(Way.NAME, host, port), CROWDED)

    def _target(self, client: socket.socket) -> tuple[str, int]:
        """Return host and port that are meant, an empty host for what is no way out: the server's own loopback."""
        address, port = client.getsockname()[:2]
        if name := self._names.name(address):
            return name, port
        return address if ipaddress.ip_address(address) in self._names.pool else "", port
