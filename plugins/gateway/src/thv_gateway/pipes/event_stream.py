"""Answers as server-sent events: of a call up to its response, of a session until it goes away, and both once more.

Where the revision of a session has resumption, the loss of a connection is not the end of a stream: what it goes on to
say is kept for the client that asks for it (MCP 2025-03-26 and later, resumability and redelivery).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from thv_core.model.message import Message
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.versions import LATEST
from thv_gateway.pipes.mailbox import Mailbox
from thv_gateway.sessions.sessions import Session
from thv_gateway.sessions.tapes import Tape, Tapes
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import Gone, Peer
from thv_gateway.web.streams import EVENT_HEADERS, KEEPALIVE, KEEPALIVE_SECONDS, as_event, pump

__all__ = ["PARK_SECONDS", "EventStream", "Forgotten", "Replay", "is_resumable", "resumable"]

PARK_SECONDS = 30.0
"""So long a session's own stream waits for its client to come back."""

_PRIME = b"retry: 1000\r\ndata: \r\n\r\n"
_GAP = as_event(failure(b"", INTERNAL_ERROR, "Messages of this stream were dropped, because too many waited"))
"""It has no id, so that the client resumes from what it has really read."""

_OVER = as_event(failure(b"", INTERNAL_ERROR, "What this stream said is kept no more; send the request again"))
_WITHOUT = frozenset({"", "2024-11-05"})


def is_resumable(session: Session) -> bool:
    """Tell whether the revision of a session has resumption."""
    return session.version not in _WITHOUT


def resumable(tapes: Tapes, session: Session, *, of_call: bool) -> Tape | None:
    """Return a tape for a new stream of a session, if its revision has resumption.

    It begins with an event without data where clients understand that, so that any stream can be resumed.
    """
    if not is_resumable(session):
        return None
    tape = tapes.begin(session, of_call=of_call)
    if session.version >= LATEST:
        tape.record(_PRIME)
    return tape


@dataclass(frozen=True)
class EventStream:
    """An answer as server-sent events: ``first`` if there is one already, then what comes into the mailbox.

    ``finished`` is called once when the stream ends, however it ends.
    """

    mailbox: Mailbox
    finished: Callable[[], None]
    first: Message | None = None
    tape: Tape | None = None

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send events until the response was sent or the mailbox is closed."""
        peer = arrival.peer if self.tape is None else _Recorder(arrival.peer, self.tape)
        # Only a session's own stream ends with its client; a call goes on (MCP 2025-11-25, transports).
        forget = arrival.peer.on_gone(self._leave) if arrival.message is None else _nothing
        if self.tape is not None and arrival.message is None:
            self.tape.left = self._leave
        try:
            peer.begin(200, EVENT_HEADERS)
            await self._primed(arrival.peer)
            identifier = arrival.identifier
            await pump(self.mailbox, self.first, lambda each: chain.outward(arrival, each), peer, identifier)
        finally:
            if self.tape is not None:
                self.tape.end()
            self.finished()
            forget()

    async def _primed(self, peer: Peer) -> None:
        try:
            for _, event in self.tape.after(0) if self.tape is not None else ():
                await peer.write(event)
        except Gone:
            return

    def _leave(self) -> None:
        """Close the mailbox, at once or when nobody has come back for it."""
        tape = self.tape
        if tape is None or self.mailbox.closed:
            self.mailbox.close()
            return

        def expire() -> None:
            if tape.reader is None:
                self.mailbox.close()

        asyncio.get_running_loop().call_later(PARK_SECONDS, expire)


class _Recorder:
    """A peer that never goes away: what it is sent is kept, and sent as long as its connection holds.

    Its connection ends when the client reads on by another one.
    """

    def __init__(self, peer: Peer, tape: Tape) -> None:
        self.on_gone, self.body, self.reply, self.begin = peer.on_gone, peer.body, peer.reply, peer.begin
        self.is_gone = False
        self._peer = peer
        self._tape = tape
        self._scope: asyncio.Timeout | None = None
        tape.cut = self._cut

    async def write(self, piece: bytes) -> None:
        """Record an event and send it."""
        if piece is not KEEPALIVE:
            piece = self._tape.record(piece)
        if self.is_gone:
            return
        try:
            async with asyncio.timeout(None) as self._scope:
                await self._peer.write(piece)
        except (Gone, TimeoutError):
            self.is_gone = True
        finally:
            self._scope = None

    def finish(self) -> None:
        """End the answer."""
        if not self.is_gone:
            self._peer.finish()

    def _cut(self) -> None:
        self.is_gone = True
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())


@dataclass(frozen=True)
class Replay:
    """What a stream said after an event, and goes on to say."""

    tape: Tape
    number: int

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Send the events that come after; they passed the stages of the exchange that they belong to."""
        tape, peer = self.tape, arrival.peer
        forget = peer.on_gone(tape.stir)
        tape.take_over(self)
        try:
            peer.begin(200, EVENT_HEADERS)
            await self._follow(peer)
            if tape.reader is self and not peer.is_gone:
                peer.finish()
        except Gone:
            pass
        finally:
            forget()
            if tape.reader is self:
                tape.reader = None
                tape.left()

    async def _follow(self, peer: Peer) -> None:
        number = self.number
        while self.tape.reader is self and not peer.is_gone:
            if self.tape.has_lost(number):
                await peer.write(_GAP)
            events = self.tape.after(number)
            for _, event in events:
                await peer.write(event)
            number = events[-1][0] if events else number
            if self.tape.is_over and not self.tape.after(number):
                return
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await self.tape.news(number)
            except TimeoutError:
                await peer.write(KEEPALIVE)


@dataclass(frozen=True)
class Forgotten:
    """The end of a stream of a call of which nothing is kept: its client learns that it waits in vain."""

    async def flow(self, arrival: Arrival, chain: Chain) -> None:
        """Say so."""
        try:
            arrival.peer.begin(200, EVENT_HEADERS)
            await arrival.peer.write(_OVER)
            arrival.peer.finish()
        except Gone:
            return


def _nothing() -> None:
    """Forget nothing."""
