"""The client's end of one message that was posted beside a stream: what answers it goes to the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thv_core.model.message import Kind, Message
from thv_core.spi.middleware import Reply
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.events import Event, EventReader, TooLong
from thv_gateway.messages.parsing import members, parse_line, text_of
from thv_gateway.sse.line import SseLine
from thv_gateway.web.peer import Fields, Peer
from thv_gateway.wires.event_stream import Cursor

__all__ = ["EventPeer"]

_SESSION = b"mcp-session-id"
_ACCEPTED = Reply(202, b"Accepted", ((b"content-type", b"text/plain"),))


class EventPeer:
    """See :class:`thv_gateway.web.peer.Peer`. Before :meth:`accept` a reply goes to ``outer``, who posted the message.

    ``answered`` is set once who posted it has an answer. ``status`` is that of the server side. ``cursor`` is how far
    an answer in events was read, in case that it ends too early.
    """

    def __init__(self, line: SseLine, outer: Peer) -> None:
        self.answered = asyncio.Event()
        self.status = 0
        self.cursor = Cursor()
        self._line = line
        self._outer = outer
        self._message: Message | None = None
        self._events = EventReader()

    @property
    def is_gone(self) -> bool:
        """Whether the stream has ended."""
        return self._line.is_closed

    @property
    def is_ready(self) -> bool:
        """Whether this was the message by which a client says that it is ready, and the server took it."""
        said = self._message.method if self._message is not None else ""
        return said == "notifications/initialized" and self.status == 202

    def accept(self, message: Message | None) -> None:
        """Tell who posted it that the message was accepted."""
        self._message = message
        if message is not None and message.kind is Kind.REQUEST:
            self.cursor = Cursor(message.id)
        if not self.answered.is_set():
            self.answered.set()
            self._outer.reply(_ACCEPTED)

    def go_on(self, cursor: Cursor) -> None:
        """Read the rest of an answer, or a stream of its own, whoever posted anything."""
        self.answered.set()
        self.cursor = cursor

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        """Call ``act`` when the stream ends."""
        return self._line.on_gone(act)

    async def body(self, limit: int) -> bytes | None:
        """Return what was posted."""
        return await self._outer.body(limit)

    def reply(self, reply: Reply) -> None:
        """Answer who posted the message, or once it was accepted send the message in the reply as an event."""
        self.status = reply.status
        if not self.answered.is_set():
            self.answered.set()
            self._outer.reply(reply)
            return
        self._note(reply.headers)
        if self._message is not None and self._message.kind is Kind.REQUEST:
            self._settle(self._message.id, parse_line(reply.body), reply.status)

    def begin(self, status: int, fields: Fields) -> None:
        """Take note of the head of an answer in pieces."""
        self.status = status
        self._note(fields)

    async def write(self, piece: bytes) -> None:
        """Send the messages in a piece, and wait as long as the client reads more slowly.

        :raises Gone: when the stream has ended.
        """
        for event in _read(self._events, piece):
            self.cursor.pass_by(event)
            if event.data:
                self._see(event.data)
                await self._line.write(event.data.replace(b"\n", b" "))

    def finish(self) -> None:
        """Answer for a server that did not, unless it can be asked for the rest."""
        identifier = self.cursor.identifier
        if identifier and not (self.cursor.answered or self.cursor.last):
            self.give_up()

    def give_up(self) -> None:
        """Answer a request whose answer is not to be had."""
        if self.cursor.identifier and not self.cursor.answered:
            self.cursor.answered = True
            error = failure(self.cursor.identifier, INTERNAL_ERROR, "The server ended its stream without an answer")
            self._line.put(assemble(error))

    def _settle(self, identifier: bytes, answer: Message | None, status: int) -> None:
        self.cursor.answered = True
        if answer is None or answer.kind is not Kind.RESPONSE:
            answer = failure(identifier, INTERNAL_ERROR, f"The server answered HTTP {status}")
        response = Message(kind=Kind.RESPONSE, id=identifier, result=answer.result, error=answer.error)
        self._heed(response)
        self._line.put(assemble(response))

    def _see(self, data: bytes) -> None:
        if not self.cursor.identifier or self.cursor.answered:
            return
        message = parse_line(data)
        if message is not None and message.kind is Kind.RESPONSE and message.id == self.cursor.identifier:
            self.cursor.answered = True
            self._heed(message)

    def _heed(self, response: Message) -> None:
        """Take note of the revision that was agreed upon."""
        if self._message is not None and self._message.method == "initialize" and response.result:
            self._line.version = text_of(members(response.result).get("protocolVersion", b"")).encode("ascii", "ignore")

    def _note(self, fields: Fields) -> None:
        given = dict(fields).get(_SESSION, b"")
        if given and self._message is not None and self._message.method == "initialize":
            self._line.begin(given)


def _read(events: EventReader, piece: bytes) -> list[Event]:
    try:
        return list(events.feed(piece))
    except TooLong:
        return []
