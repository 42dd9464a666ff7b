"""A wire to a server of the modern era over HTTP: each message stands for itself (MCP 2026-07-28, transports)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thv_core.model.message import Kind, Message
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.versions import MODERN_VERSIONS
from thv_gateway.wires.carriage import Carriage
from thv_gateway.wires.mirrors import Mirrors, mirrored
from thv_gateway.wires.way import Take, Way, at_once, nobody

__all__ = ["ModernHttpWire"]

_POST = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))


class ModernHttpWire:
    """The requests of the gateway at one server; see :class:`thv_gateway.pipes.conversation.Wire`.

    ``take`` is what the messages of the server are handed to. ``on_end`` is never called: there is nothing that could
    end. What the server lists of its tools is looked at for the parameters that it wants to see in the head.
    """

    def __init__(self, way: Way) -> None:
        self.take: Take = nobody
        self.rest: Callable[[], float] = at_once
        self.incarnation = ""
        self.on_end: Callable[[str], None] = nobody
        self._way = way
        self._mirrors = Mirrors()
        self._lists: set[bytes] = set()
        self._carriage = Carriage(way)
        self._carriage.take = self._take
        self._carriage.rest = lambda: self.rest()
        self._now = asyncio.Event()
        self._now.set()
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused."""
        return self._carriage.full

    def send(self, message: Message) -> None:
        """Send one message; a cancellation closes the exchange of its call instead."""
        if self._ended:
            return
        if message.method == "notifications/cancelled":
            carried = self._carriage.find(message.params.get("requestId", b""))
            if carried is not None:
                carried.give_up()
            return
        if message.method == "tools/list":
            self._lists.add(message.id)
        fields = (*_POST, *self._way.fields(), *self._head(message))
        self._carriage.post(message, self._way.client.request(b"POST", fields, assemble(message)), self._now)

    async def leave(self) -> None:
        """Close: there is no session to end."""
        self.close()

    def close(self) -> None:
        """Give up what is in flight."""
        self._ended = True
        self._carriage.close()

    def _head(self, message: Message) -> tuple[tuple[bytes, bytes], ...]:
        head = [(b"mcp-protocol-version", MODERN_VERSIONS[-1].encode())]
        if message.method:
            head += [(b"mcp-method", message.method.encode()), *mirrored(message)]
        if message.method == "tools/call":
            head += self._mirrors.of(message)
        return tuple(head)

    def _take(self, message: Message, about: bytes) -> None:
        if message.kind is Kind.RESPONSE and message.id in self._lists:
            self._lists.discard(message.id)
            self._mirrors.learn(message)
        self.take(message, about)
