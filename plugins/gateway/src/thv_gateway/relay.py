"""What happens at ``/mcp`` when the server speaks HTTP itself: its answers are relayed, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.model.route import Route, RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.answers import INTERNAL_ERROR, accepted, refusal
from thv_gateway.assembly import assemble
from thv_gateway.chain import Arrival, Chain
from thv_gateway.connection import Broken, Head
from thv_gateway.endpoint import HOLD_SECONDS, RETRY
from thv_gateway.flights import Flight
from thv_gateway.parsing import parse_line
from thv_gateway.pool import Busy
from thv_gateway.probe import is_events
from thv_gateway.relay_link import RelayLink
from thv_gateway.relayed import RelayedStream
from thv_gateway.streams import on_disconnect
from thv_gateway.upstream import Estate, Flow
from thv_gateway.versions import LEGACY_VERSIONS

__all__ = ["MAX_ANSWER", "RelayEndpoint"]

MAX_ANSWER = 32 * 1024 * 1024

_POST = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
_OWN: dict[str, tuple[tuple[bytes, bytes], ...]] = {"POST": _POST, "GET": ((b"accept", b"text/event-stream"),)}
_LEGACY = frozenset(version.encode() for version in LEGACY_VERSIONS)
_BACK = frozenset({b"content-type", b"allow", b"retry-after"})
_MEDIA = frozenset({b"application/json", b"text/event-stream", b"text/plain"})
_SHARE_OF_STREAMS = 0.75
"""Sessions' own streams may take so much of the connections; the rest is for calls."""


class RelayEndpoint:
    """Answers requests of one workload; ``link`` is its current incarnation. Sessions are the server's."""

    def __init__(self, route: Route, estate: Estate, chain: Chain, changed: Callable[[], None]) -> None:
        self.chain = chain
        self.link = RelayLink(route, estate, changed)
        self._estate = estate
        self._changed = changed

    def follow(self, route: Route) -> None:
        """Switch to another incarnation of the server, which knows none of the sessions."""
        self.link.close(f"{route.workload} was started anew")
        self.link = RelayLink(route, self._estate, self._changed)

    async def answer(self, arrival: Arrival) -> Reply | Flow:
        """Answer a request that passed every stage."""
        unready = await self._unready(arrival)
        if unready is not None:
            return unready
        link = self.link
        answer: Reply | Flow | None = None
        flight = link.flights.begin(arrival)
        if _ends_with_its_client(arrival):
            give_up = lambda: flight.give_up("cancelled", "The client went away")  # noqa: E731 - for this flight only
            flight.watcher = asyncio.create_task(on_disconnect(arrival.receive, give_up))
        try:
            answer = await self._asked(link, flight)
            return answer
        except (Broken, Busy, OSError) as error:
            return _failed(link, flight, error)
        finally:
            if not isinstance(answer, RelayedStream):
                link.finish(flight)

    async def _asked(self, link: RelayLink, flight: Flight) -> Reply | RelayedStream:
        arrival = flight.arrival
        message = arrival.message
        body = assemble(message) if message is not None else b""
        passed = [field for field in arrival.headers if field[0][:4] == b"mcp-" or field[0] == b"last-event-id"]
        request = link.client.request(arrival.method.encode(), (*_OWN.get(arrival.method, ()), *passed), body)
        again = message is None or message.method != "tools/call"
        connection, head = await link.client.ask(flight, request, again=again)
        link.flights.stir(flight)
        if is_events(head) and head.status == 200:
            return RelayedStream(link, flight, connection, _fields_back(head))
        return await self._reply(link, arrival, head, await connection.body(MAX_ANSWER))

    async def _reply(self, link: RelayLink, arrival: Arrival, head: Head, body: bytes) -> Reply:
        if head.status == 202 and not _is_request(arrival):
            return accepted
        message = parse_line(body) if arrival.message is not None else None
        if message is not None and _answers(message, arrival):
            answer = await self.chain.outward(arrival, message)
            return Reply(head.status, assemble(answer) if answer is not None else b"", _fields_back(head))
        if _is_strange(head.status) or (head.status < 300 and _is_request(arrival)):
            link.note("noise", f"HTTP {head.status} with {len(body)} bytes that are not MCP")
            arrival.fault = "unreadable"
            text = f"{link.route.workload} answered HTTP {head.status} with what is not MCP"
            return refusal(502, INTERNAL_ERROR, text, arrival.message.id if arrival.message else b"")
        # What did not pass the stages is no news for a client, only a reason.
        return Reply(head.status, body if head.status >= 400 else b"", _fields_back(head))

    async def _unready(self, arrival: Arrival) -> Reply | None:
        if self.link.state is RouteState.STARTING:
            await self.link.settled(HOLD_SECONDS)
        link, identifier = self.link, arrival.message.id if arrival.message else b""
        if link.state is not RouteState.READY:
            arrival.fault = "unavailable"
            text = link.reason or f"{link.route.workload} is starting"
            return refusal(503, INTERNAL_ERROR, text, identifier, RETRY)
        if arrival.method == "GET" and len(link.flights.streams()) >= max(1, len(link.pool) * _SHARE_OF_STREAMS):
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many streams", identifier, RETRY)
        return None


def _is_request(arrival: Arrival) -> bool:
    return arrival.message is not None and arrival.message.kind is Kind.REQUEST


def _is_strange(status: int) -> bool:
    """Tell whether a status says nothing here: a redirection, or one that HTTP does not know."""
    return 300 <= status < 400 or status >= 600


def _answers(message: Message, arrival: Arrival) -> bool:
    """Tell whether a body is about this request, and not the answer to another one."""
    asked = arrival.message.id if arrival.message is not None else b""
    if message.kind is not Kind.RESPONSE or message.id in (asked, b"", b"null"):
        return True
    try:
        return bool(asked) and msgspec.json.decode(message.id) == msgspec.json.decode(asked)
    except msgspec.DecodeError:
        return False


def _ends_with_its_client(arrival: Arrival) -> bool:
    """Tell whether it does: a session's own stream, and every request of MCP 2026-07-28; a legacy call goes on."""
    return arrival.method == "GET" or arrival.fields.get(b"mcp-protocol-version", b"2025-03-26") not in _LEGACY


def _fields_back(head: Head) -> tuple[tuple[bytes, bytes], ...]:
    # The session id of a refusal is that of a session that never was.
    dead = b"mcp-session-id" if head.status >= 400 else b""
    back = {
        name: value for name, value in head.fields.items() if name in _BACK or (name[:4] == b"mcp-" and name != dead)
    }
    if back.get(b"content-type", b"").partition(b";")[0].strip().lower() not in _MEDIA:
        # Nothing that a browser would run under our address.
        back[b"content-type"] = b"text/plain"
    return tuple(back.items())


def _failed(link: RelayLink, flight: Flight, error: Exception) -> Reply:
    arrival, name = flight.arrival, link.route.workload
    identifier = arrival.message.id if arrival.message else b""
    if flight.fault:
        arrival.fault = flight.fault
        return refusal(504 if flight.fault == "timeout" else 502, INTERNAL_ERROR, flight.reason, identifier)
    if isinstance(error, Busy):
        arrival.fault = "busy"
        return refusal(503, INTERNAL_ERROR, "Too many calls in flight", identifier, RETRY)
    link.suspect()
    arrival.fault = "gone"
    if isinstance(error, Broken):
        return refusal(502, INTERNAL_ERROR, f"{name} {error}", identifier)
    return refusal(503, INTERNAL_ERROR, f"{name} accepts no connections", identifier, RETRY)
