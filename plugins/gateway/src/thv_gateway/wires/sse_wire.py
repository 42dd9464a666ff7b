"""A wire to a server of HTTP and SSE (MCP 2024-11-05, transports): one stream from it, and POSTs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Head
from thv_gateway.client.http_client import HttpClient, Place
from thv_gateway.client.pool import Busy, Pool
from thv_gateway.messages.assembly import assemble
from thv_gateway.messages.events import Event
from thv_gateway.relays.probe import Unauthorized, is_events
from thv_gateway.servers.handshake import Refused
from thv_gateway.wires.carriage import Carriage, Carried
from thv_gateway.wires.event_stream import Cursor, read_events
from thv_gateway.wires.way import Take, Way, at_once, nobody

__all__ = ["SSE_ENDPOINT", "SseWire"]

SSE_ENDPOINT = b"/sse"
"""Where servers send events: the path that the SDKs choose by default."""

ENDPOINT_SECONDS = 10.0
"""So long a server may take to say where it takes messages."""

ACCEPT_SECONDS = 30.0
"""So long it may take to accept one; it answers it elsewhere."""

_EVENTS = ((b"accept", b"text/event-stream"), (b"cache-control", b"no-store"))
_POST = ((b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream"))
_STREAM = Message(kind=Kind.NOTIFICATION)


@dataclass(frozen=True)
class _Stream:
    rest: Callable[[], float]
    heed: Callable[[Event, Message | None], None]


class SseWire:
    """One session, which ends with its stream; see :class:`thv_gateway.pipes.conversation.Wire`.

    :meth:`open` comes first. ``take`` is what the messages of the server are handed to, ``on_end`` is told once why the
    stream ended. Messages are posted one after another, so that the server sees them in their order.

    :param place: where the stream is.
    """

    def __init__(self, way: Way, pool: Pool, place: Place) -> None:
        self.take: Take = nobody
        self.rest: Callable[[], float] = at_once
        self.incarnation = ""
        self.on_end: Callable[[str], None] = nobody
        self._way = way
        self._pool = pool
        self._place = place
        self._carriage = Carriage(way)
        self._last = asyncio.Event()
        self._last.set()
        self._target: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._stream = Carried(_STREAM)
        self._reader: asyncio.Task[None] | None = None
        self._ended = False

    @property
    def congested(self) -> bool:
        """Whether a new call has to be refused."""
        return self._carriage.full

    async def open(self) -> None:
        """Open the stream, and wait until the server says where it takes messages.

        :raises Refused: when it refuses, or takes them at another origin.
        :raises Broken: when it does not answer as a server of SSE; also ``Busy``, ``OSError``.
        """
        self._reader = asyncio.get_running_loop().create_task(self._read())
        try:
            async with asyncio.timeout(ENDPOINT_SECONDS):
                target = await asyncio.shield(self._target)
        except TimeoutError:
            self.close()
            raise Broken("does not say where it takes messages") from None
        except BaseException:
            self.close()
            raise
        client = HttpClient(self._pool, target)
        self._way = replace(self._way, client=client, patience=ACCEPT_SECONDS)
        self._carriage = Carriage(self._way)
        self._carriage.is_one_way = True
        self._carriage.take = lambda message, _: self.take(message, b"")
        self._carriage.heads = self._head

    def send(self, message: Message) -> None:
        """Send one message; a request that cannot be carried is answered with an error."""
        if not self._ended:
            fields = (*_POST, *self._way.fields())
            request = self._way.client.request(b"POST", fields, assemble(message))
            self._last = self._carriage.post(message, request, self._last)

    async def leave(self) -> None:
        """Close: the session ends with its stream."""
        self.close()

    def close(self) -> None:
        """Let go of the server; nobody is told."""
        self._ended = True
        self._carriage.close()
        self._stream.give_up()
        if self._reader is not None:
            self._reader.cancel()
        if not self._target.done():
            self._target.cancel()

    async def _read(self) -> None:
        why: Exception = Broken("ended its stream of events")
        client = self._way.client
        try:
            await self._events(client)
        except (Broken, Busy, OSError, Refused) as error:
            why = error
        finally:
            client.release(self._stream)
        if self._ended:
            return
        if self._target.done():
            self._end(str(why) or type(why).__name__)
        else:
            self._target.set_exception(why)

    async def _events(self, client: HttpClient) -> None:
        request = client.request(b"GET", (*_EVENTS, *self._way.fields()))
        connection, head = await client.ask(self._stream, request, again=True)
        if head.status >= 500 or head.status in (408, 425, 429):
            raise Broken(f"answered HTTP {head.status}")
        if head.status != 200 or not is_events(head):
            kind = Unauthorized if head.status in (401, 403) else Refused
            what = f"answered HTTP {head.status}" if head.status != 200 else "sent no events"
            raise kind(f"it {what} at {client.path}")
        await read_events(connection, Cursor(), None, _Stream(lambda: self.rest(), self._heed))

    def _heed(self, event: Event, message: Message | None) -> None:
        if not self._target.done():
            if b"event: endpoint" in event.fields or b"event:endpoint" in event.fields:
                self._settle(event.data)
        elif message is not None:
            self.take(message, b"")
        else:
            self._way.note("noise", f"an event of {len(event.data)} bytes that is not MCP")

    def _settle(self, location: bytes) -> None:
        target = self._place.leading_to(location)
        if target is None:
            raise Refused("it wants messages to be sent to another origin")
        self._target.set_result(target)

    def _head(self, message: Message, head: Head) -> bool:
        if head.status in (404, 410):
            self._end("does not know the session any more")
            return True
        return False

    def _end(self, why: str) -> None:
        if not self._ended:
            self.close()
            self.on_end(f"{self._way.name} {why}")
