"""Relay a stream of server-sent events: every message through the chain, ids and retry times kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Connection
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.assembly import assemble, quoted
from thv_gateway.messages.envelope import SUBSCRIPTION_ID
from thv_gateway.messages.events import Event, EventReader, TooLong, written
from thv_gateway.messages.parsing import parse_line
from thv_gateway.relays.flights import Flight
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import Gone
from thv_gateway.web.streams import EVENT_HEADERS, as_event

__all__ = ["LINGER_SECONDS", "RelayedStream"]

MAX_DRAINED = 64 * 1024 * 1024
"""So much is read of a stream whose client is gone."""

_EVENTS_PER_TURN = 256

LINGER_SECONDS = 2.0
"""So long a server may keep a stream open after the response that it was for."""


class Source(Protocol):
    """Where a stream comes from: the way to one incarnation, and who takes note of what it says."""

    link: RelayLink

    def passing(self, arrival: Arrival, message: Message) -> Message:
        """Take note of what the server says to a client; return it as the client may hear it."""
        ...

    def resumable(self, arrival: Arrival) -> None:
        """Take note that a client was given the id of an event."""
        ...


class RelayedStream:
    """The stream that answers one request, or that a session opened for itself."""

    def __init__(
        self, source: Source, flight: Flight, connection: Connection, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self._source = source
        self._link = source.link
        self._flight = flight
        self._connection = connection
        self._fields = [field for field in fields if field[0].startswith(b"mcp-")]
        self._answered = self._resumable = self._abandoned = False
        self._drained = 0

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Relay events until the server ends the stream; without an answer it ends with an error event."""
        if not self._flight.is_watched:
            self._flight.watch(arrival.peer, self._abandon)
        try:
            arrival.peer.begin(200, [*EVENT_HEADERS, *self._fields])
            await self._relay(arrival, chain)
            arrival.peer.finish()
        except Gone:
            # A client that does not read: the response stays incomplete, and its connection is closed.
            self._flight.give_up("slow", "The client reads too slowly")
            arrival.fault = "slow"
        finally:
            if self._goes_on(arrival):
                self._link.park(self._flight)
            else:
                self._link.finish(self._flight)

    def _goes_on(self, arrival: Arrival) -> bool:
        """Tell whether the server has only let go of the connection, so that the answer is asked for again."""
        is_open = self._resumable and not (self._answered or self._flight.fault)
        return is_open and arrival.message is not None and arrival.message.kind is Kind.REQUEST

    async def _relay(self, arrival: Arrival, chain: Chain) -> None:
        reader = EventReader()
        try:
            while data := await self._connection.read():
                self._came(len(data))
                if passed := await self._passed(reader.feed(data), arrival, chain):
                    await self._tell(arrival, passed)
        except (Broken, TooLong) as error:
            await self._broken(arrival, error)

    async def _tell(self, arrival: Arrival, piece: bytes) -> None:
        """Write to the client; of one that is gone, what the server still says is read and dropped."""
        try:
            if not self._abandoned:
                await arrival.peer.write(piece)
        except Gone:
            if not self._abandoned:
                raise

    def _came(self, size: int) -> None:
        if self._abandoned:
            self._drained += size
            if self._drained > MAX_DRAINED:
                self._flight.give_up("cancelled", "The client went away")
        elif not self._answered:
            self._link.flights.stir(self._flight)

    def _abandon(self) -> None:
        """Note that the client of a call is gone: the server may finish it (MCP 2025-11-25), within bounds."""
        self._abandoned = True
        self._link.flights.hurry(self._flight, self._link.route.request_timeout)

    async def _passed(self, events: Iterable[Event], arrival: Arrival, chain: Chain) -> bytes:
        parts: list[bytes] = []
        for number, event in enumerate(events, start=1):
            parts.append(await self._part(event, arrival, chain))
            if number % _EVENTS_PER_TURN == 0:
                # A flood of small events must not keep the other workloads waiting.
                await asyncio.sleep(0)
        return b"".join(parts)

    async def _part(self, event: Event, arrival: Arrival, chain: Chain) -> bytes:
        if not self._resumable and any(field.startswith(b"id") for field in event.fields):
            self._resumable = True
            self._source.resumable(arrival)
        if not event.data:
            # The priming event of MCP 2025-11-25, or a comment that keeps the connection alive.
            return written(event, b"") if event.fields else b": keep-alive\r\n\r\n"
        message = parse_line(event.data)
        if message is None:
            self._link.note("noise", f"an event of {len(event.data)} bytes that is not MCP")
            return b""
        if message.method == "notifications/tools/list_changed":
            self._link.tools_changed()
        elif message.kind is Kind.RESPONSE and arrival.message is not None:
            self._answered = True
            self._link.flights.hurry(self._flight, LINGER_SECONDS)
        answer = await chain.outward(arrival, self._source.passing(arrival, message))
        return written(event, assemble(answer)) if answer is not None else b""

    async def _broken(self, arrival: Arrival, error: Exception) -> None:
        flight = self._flight
        if self._answered or flight.fault == "cancelled":
            return
        if not flight.fault and isinstance(error, Broken):
            self._link.suspect()
        arrival.fault = flight.fault or "gone"
        if flight.is_stream and flight.fault in ("moved", "drained"):
            if arrival.message is not None:
                await self._tell(arrival, as_event(_over(arrival.message.id)))
            return
        # A client with an event id asks for the rest by itself.
        if arrival.message is not None and not self._resumable:
            text = flight.reason or f"{self._link.route.workload} {error or 'sent an event that does not end'}"
            await self._tell(arrival, as_event(failure(arrival.message.id, INTERNAL_ERROR, text)))


def _over(identifier: bytes) -> Message:
    """Return what ends ``subscriptions/listen`` gracefully, so that its client listens again (MCP 2026-07-28)."""
    result = b'{"resultType":"complete","_meta":{%b:%b}}' % (quoted(SUBSCRIPTION_ID), identifier)
    return Message(kind=Kind.RESPONSE, id=identifier, result=result)
