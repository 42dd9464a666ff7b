"""What happens at ``/mcp`` when the server speaks HTTP itself: its answers are relayed, message by message."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.http_client import Request, field_lines
from thv_gateway.client.pool import Busy
from thv_gateway.messages.answers import INTERNAL_ERROR, accepted, refusal
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.parsing import parse_line
from thv_gateway.relays.answered import WISHES, answers, is_plain_answer, is_strange
from thv_gateway.relays.flights import Flight, listens
from thv_gateway.relays.heads import Fields, fields_back
from thv_gateway.relays.probe import is_events
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.relays.relayed import RelayedStream
from thv_gateway.relays.swift import Swift, event_fields, only_answer
from thv_gateway.relays.visits import Visits, is_legacy
from thv_gateway.servers.upstream import Estate, Flow, Told, Upstream
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.reception import RETRY

__all__ = ["MAX_ANSWER", "RelayEndpoint"]

MAX_ANSWER = 32 * 1024 * 1024

_WAITED_FOR = WISHES | {"initialize", "subscriptions/listen"}
"""Much is noted when these are answered."""

_LOST = frozenset({400, 404})
"""What is said of a session that is not known any more: 404 by MCP, 400 by servers of the TypeScript SDK."""

_SHARE_OF_STREAMS = 0.75
"""Streams of what the server says by itself may take so much of the connections; the rest is for calls."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server answered as a whole; ``fields`` are those for the client."""

    status: int
    body: bytes
    fields: Fields


class Lines(NamedTuple):
    """What a server gets of a head by one ``endpoint``, after its ``own`` lines with which each begins."""

    endpoint: object
    own: bytes
    whole: bytes


class Back(NamedTuple):
    """What a client gets of a head, with the id of its ``session``."""

    session: bytes
    fields: Fields


class RelayEndpoint:
    """Answers requests with one incarnation that speaks HTTP; see :class:`thv_gateway.servers.upstream.Endpoint`."""

    def __init__(self, link: RelayLink, estate: Estate) -> None:
        self.link = link
        self._visits = Visits(link, estate)
        self._asked = estate.asked

    def owns(self, arrival: Arrival) -> bool:
        """Tell whether this is about a call in flight here."""
        message = arrival.message
        if message is None:
            resumes = b"last-event-id" in arrival.fields
            return resumes and self.link.flights.parked(arrival.session) is not None
        if message.kind is Kind.REQUEST:
            return False
        if message.kind is Kind.RESPONSE:
            question = self._asked.of(arrival.session, message.id)
            return question is not None and question.incarnation == self.link.route.incarnation
        return message.method == "notifications/cancelled" and self.link.flights.has(
            arrival.session, message.params.get("requestId", b"")
        )

    def needs_server(self, arrival: Arrival) -> bool:
        """Say so of everything."""
        return True

    def knows(self, arrival: Arrival) -> bool:
        """Tell whether the server knows the session, or nobody does."""
        return self._visits.knows(arrival)

    async def introduce(self, arrival: Arrival) -> Reply | None:
        """Open a session at the server for one of a former life."""
        return await self._visits.introduce(arrival)

    def begin(self, former: Upstream) -> None:
        """Do nothing: each session is introduced when it comes."""

    def recede(self) -> None:
        """End the streams of sessions without calls in flight: their clients open them again, at another life."""
        flights = self.link.flights
        staying = {flight.arrival.session for flight in flights if not flight.is_stream and is_legacy(flight.arrival)}
        for flight in flights.streams():
            if flight.arrival.session not in staying or not is_legacy(flight.arrival):
                flight.give_up("moved", "The server is exchanged")

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Flow:
        """Answer a request that passed every stage."""
        refused = self._refused(arrival)
        if refused is not None:
            return refused
        if arrival.method == "DELETE" and self._visits.leaves_unnoticed(arrival):
            return Reply(204, b"", ())
        flight = self._begun(arrival)
        return await self._carried(flight, chain, self._asked_of_server(flight))

    def start(self, arrival: Arrival, chain: Chain, told: Told) -> bool:
        """Ask the server at once for the answer to a call; see :data:`thv_gateway.servers.upstream.Start`."""
        message, link = arrival.message, self.link
        if message is None or message.kind is not Kind.REQUEST or message.method in _WAITED_FOR:
            return False
        if link.unsupplied or not self._visits.knows(arrival):
            return False
        flight = self._begun(arrival)
        request = self._request(flight)

        def hear(answer: Reply | None) -> None:
            told(answer or self._carried(flight, chain, self._heard(flight, request)))

        began = link.client.begin(flight, request, Swift(link, flight, self._swift_reply, hear).came)
        if not began:
            link.finish(flight)
        return began

    def _swift_reply(self, arrival: Arrival, connection: Connection) -> Reply | None:
        """Return the reply that hands on an answer as it is; ``None`` when it needs to be looked at, or waited for."""
        head = connection.head
        if head is None or head.status != 200:
            return None
        events = is_events(head)
        if not (connection.is_whole or events):
            return None
        body = connection.seen()
        answer = only_answer(body) if events else body
        if answer is None or not is_plain_answer(answer, arrival):
            return None
        fields = self._back(arrival, head)
        return Reply(200, body, event_fields(fields) if events else fields)

    def _begun(self, arrival: Arrival) -> Flight:
        flight = self.link.flights.begin(arrival)
        if _ends_with_its_client(arrival):
            flight.watch(arrival.peer, lambda: flight.give_up("cancelled", "The client went away"))
        return flight

    async def _carried(
        self, flight: Flight, chain: Chain, asked: Coroutine[None, None, tuple[Connection, Head]]
    ) -> Reply | Flow:
        answer: Reply | Flow | None = None
        link = self.link
        try:
            answer = await self._relayed(flight, chain, asked)
            return answer
        except (Broken, Busy, OSError) as error:
            return _failed(link, flight, error)
        finally:
            if not isinstance(answer, RelayedStream):
                link.finish(flight)

    def _refused(self, arrival: Arrival) -> Reply | None:
        link = self.link
        if link.unsupplied:
            arrival.fault = "unavailable"
            return refusal(503, INTERNAL_ERROR, link.unsupplied, arrival.identifier, RETRY)
        is_stream = arrival.method == "GET" or listens(arrival)
        if is_stream and len(link.flights.streams()) >= max(1, len(link.pool) * _SHARE_OF_STREAMS):
            arrival.fault = "busy"
            return refusal(503, INTERNAL_ERROR, "Too many streams", arrival.identifier, RETRY)
        return None

    async def _relayed(
        self, flight: Flight, chain: Chain, asked: Coroutine[None, None, tuple[Connection, Head]]
    ) -> Reply | RelayedStream:
        arrival, link = flight.arrival, self.link
        stay = self._visits.stay_of(arrival)
        connection, head = await asked
        if head.status in _LOST and stay.id:
            body = await connection.body(MAX_ANSWER)
            if head.status == 400 and b"session" not in body.lower():
                return await self._reply(arrival, chain, Answered(head.status, body, self._back(arrival, head)))
            link.client.release(flight)
            refused = await self._visits.renew(arrival, stay)
            if refused is not None:
                return refused
            connection, head = await self._asked_of_server(flight)
        back = self._back(arrival, head)
        if head.status == 200 and is_events(head):
            return RelayedStream(self, flight, connection, back)
        return await self._reply(arrival, chain, Answered(head.status, await connection.body(MAX_ANSWER), back))

    async def _asked_of_server(self, flight: Flight) -> tuple[Connection, Head]:
        """Send a request on; what a server may do twice is sent again when a connection turns out to be closed."""
        answered = await self.link.client.ask(flight, self._request(flight), again=_may_be_repeated(flight))
        self.link.flights.stir(flight)
        return answered

    async def _heard(self, flight: Flight, request: Request) -> tuple[Connection, Head]:
        """Wait for the answer to what was sent on."""
        connection = flight.connection
        if connection is None:
            raise Broken("was given up")
        answered = await self.link.client.heard(flight, connection, request, again=_may_be_repeated(flight))
        self.link.flights.stir(flight)
        return answered

    def _request(self, flight: Flight) -> Request:
        arrival, link = flight.arrival, self.link
        message = arrival.message
        if message is None:
            body = b""
        elif message is arrival.parsed and message.kind is Kind.REQUEST:
            # No stage has changed it: these are the very pieces, as they came.
            body = arrival.body
        else:
            body = assemble(self._for_server(arrival, message))
        return link.client.prepared(arrival.method.encode(), self._lines(arrival), body)

    def _lines(self, arrival: Arrival) -> bytes:
        """Return the fields for the server as they are written; what the same head came to before is at hand."""
        own = self.link.heads.get(arrival.method, b"")
        heading = arrival.heading
        if heading is None or heading.headers is not arrival.headers or not self._visits.passes(arrival):
            return own + field_lines(self._visits.inward(arrival))
        known = heading.written
        if isinstance(known, Lines) and known.endpoint is self and known.own is own:
            return known.whole
        lines = own + field_lines(self._visits.inward(arrival))
        heading.written = Lines(self, own, lines)
        return lines

    def _back(self, arrival: Arrival, head: Head) -> Fields:
        session, known = self._visits.outward(arrival, head), head.written
        if isinstance(known, Back) and known.session == session:
            return known.fields
        fields = fields_back(head, self.link.passed, session)
        head.written = Back(session, fields)
        return fields

    def _for_server(self, arrival: Arrival, message: Message) -> Message:
        """Return what a client answers with the id by which the server asked; anything else as it is."""
        if message.kind is Kind.RESPONSE:
            return msgspec.structs.replace(message, id=self._asked.answered(arrival.session, message.id))
        if message.method == "notifications/cancelled":
            self._unpark(arrival, message.params.get("requestId", b"null"))
        return message

    def _unpark(self, arrival: Arrival, identifier: bytes) -> None:
        parked = self.link.flights.parked(arrival.session, identifier)
        if parked is not None:
            self.link.flights.end(parked)

    def passing(self, arrival: Arrival, message: Message) -> Message:
        """Take note of what the server says to a client; return it as the client may hear it."""
        if message.kind is Kind.REQUEST:
            known = self._asked.note(arrival.session, self.link.route.incarnation, message.id)
            return message if known == message.id else msgspec.structs.replace(message, id=known)
        if message.kind is not Kind.RESPONSE:
            return message
        if arrival.message is None:
            self._unpark(arrival, message.id)
        elif arrival.message.method in WISHES:
            self._visits.answered(arrival, message)
        return message

    def resumable(self, arrival: Arrival) -> None:
        """Take note that a client was given the id of an event."""
        self._visits.resumable(arrival.session)

    async def _reply(self, arrival: Arrival, chain: Chain, answered: Answered) -> Reply:
        link, status, body = self.link, answered.status, answered.body
        if status == 202 and not _is_request(arrival):
            return accepted
        if not chain.alters and is_plain_answer(body, arrival):
            return Reply(status, body, answered.fields)
        message = parse_line(body) if arrival.message is not None else None
        if message is not None and answers(message, arrival):
            answer = await chain.outward(arrival, self.passing(arrival, message))
            return Reply(status, assemble(answer) if answer is not None else b"", answered.fields)
        if is_strange(status) or (status < 300 and _is_request(arrival)):
            link.note("noise", f"HTTP {status} with {len(body)} bytes that are not MCP")
            arrival.fault = "unreadable"
            text = f"{link.route.workload} answered HTTP {status} with what is not MCP"
            return refusal(502, INTERNAL_ERROR, text, arrival.identifier)
        # What did not pass the stages is no news for a client, only a reason.
        return Reply(status, body if status >= 400 else b"", answered.fields)


def _may_be_repeated(flight: Flight) -> bool:
    message = flight.arrival.message
    return message is None or message.method != "tools/call"


def _is_request(arrival: Arrival) -> bool:
    return arrival.message is not None and arrival.message.kind is Kind.REQUEST


def _ends_with_its_client(arrival: Arrival) -> bool:
    """Tell whether it does: a session's own stream, and every request of MCP 2026-07-28; a legacy call goes on."""
    return arrival.method == "GET" or not is_legacy(arrival)


def _failed(link: RelayLink, flight: Flight, error: Exception) -> Reply:
    arrival, name = flight.arrival, link.route.workload
    identifier = arrival.identifier
    if flight.is_stream and flight.fault in ("moved", "drained"):
        # Nothing was to be heard yet: the client opens it again.
        return Reply(200, b"", ((b"content-type", b"text/event-stream"),))
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
