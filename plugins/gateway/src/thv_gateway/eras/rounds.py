"""Carry one round of a call to its client: a body when the answer comes first and soon, server-sent events otherwise.

Source: MCP 2026-07-28, transports. A client that goes away cancels its call.
"""

from __future__ import annotations

from collections.abc import Callable

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.eras.results import status_of
from thv_gateway.eras.work import Work
from thv_gateway.messages.assembly import assemble
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import Gone
from thv_gateway.web.streams import EVENT_HEADERS, as_event

__all__ = ["PING", "SILENCE_SECONDS", "Round"]

SILENCE_SECONDS = 15.0
"""So long an answer may take before it begins as a stream, and so long that may be silent."""

PING = b": ping\r\n\r\n"


class Round:
    """The answer to one request for a call.

    :param ended: called once, when nothing more of it is sent.
    """

    def __init__(self, work: Work, arrival: Arrival, ended: Callable[[], None]) -> None:
        self._work = work
        self._ended = ended
        self._first: Message | None = None
        self._forget = arrival.peer.on_gone(self._gone)

    async def answer(self, arrival: Arrival, chain: Chain) -> Reply | Round:
        """Wait for what comes first; return the answer if that is it, and else what streams it."""
        streams = False
        try:
            self._first = await self._work.next(SILENCE_SECONDS)
            streams = self._first is None or self._first.kind is not Kind.RESPONSE
            return await self._whole(self._first, arrival, chain) if self._first and not streams else self
        finally:
            if not streams:
                self._end(arrival)

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send events until the response was sent, or the call was given up."""
        peer, message = arrival.peer, self._first
        try:
            peer.begin(200, EVENT_HEADERS)
            while message is not None or not self._work.is_given_up:
                told = await chain.outward(arrival, message) if message is not None else None
                await peer.write(as_event(told) if told is not None else PING)
                if message is not None and message.kind is Kind.RESPONSE:
                    peer.finish()
                    return
                message = await self._work.next(SILENCE_SECONDS)
        except Gone:
            self._work.abandon()
        finally:
            self._end(arrival)

    async def _whole(self, response: Message, arrival: Arrival, chain: Chain) -> Reply:
        call = self._work.call
        answer = await chain.outward(arrival, response) or response
        return Reply(call.status if call.fault else status_of(answer), assemble(answer))

    def _gone(self) -> None:
        if not self._work.is_parked:
            self._work.abandon()

    def _end(self, arrival: Arrival) -> None:
        arrival.fault = arrival.fault or ("cancelled" if self._work.is_given_up else self._work.call.fault)
        self._forget()
        self._ended()
