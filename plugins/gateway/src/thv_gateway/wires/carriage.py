"""Messages on their way to an HTTP server, each in an exchange of its own, and what comes back on each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.http_client import Request
from thv_gateway.client.pool import Busy
from thv_gateway.client.remote import explained
from thv_gateway.messages.answers import INTERNAL_ERROR, failure
from thv_gateway.messages.events import Event
from thv_gateway.messages.parsing import parse_line
from thv_gateway.relays.probe import is_events
from thv_gateway.wires.event_stream import Cursor, read_events
from thv_gateway.wires.way import Take, Way, at_once, nobody

__all__ = ["MAX_ANSWER", "MOST_EXCHANGES", "Carriage", "Carried", "Listening"]

MOST_EXCHANGES = 1024
"""So many messages are on their way at once; what is above that is refused as busy."""

MAX_ANSWER = 32 * 1024 * 1024

Resume = Callable[["Carried", Cursor], Awaitable[None]]


class Carried:
    """One message and the exchange that carries it; ``fault`` is a word once that was given up."""

    __slots__ = ("connection", "fault", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.connection: Connection | None = None
        self.fault = ""

    def give_up(self) -> None:
        """Cut the connection."""
        self.fault = "cancelled"
        if self.connection is not None:
            self.connection.abort()


class Taker(Protocol):
    """What takes the messages of a server; see :class:`thv_gateway.pipes.private_talk.PrivateWire`."""

    take: Take
    rest: Callable[[], float]


@dataclass(frozen=True)
class Listening:
    """Hands what comes on one stream to its taker; ``about`` is the key of the call that the stream answers."""

    taker: Taker
    way: Way
    about: bytes = b""

    def heed(self, event: Event, message: Message | None) -> None:
        """Take an event."""
        if message is not None:
            self.taker.take(message, self.about)
        else:
            self.way.note("noise", f"an event of {len(event.data)} bytes that is not MCP")

    def rest(self) -> float:
        """Return for how many seconds nothing more should be read."""
        return self.taker.rest()


class Carriage:
    """All exchanges of one wire.

    ``heads`` sees the head of each answer first and says whether nothing more is to be done about it. ``resumes`` goes
    on with an answer whose stream ended early and can be resumed; without it such an answer has failed. ``is_one_way``
    tells that messages are only accepted here, and answered on another way.
    """

    def __init__(self, way: Way) -> None:
        self.take: Take = nobody
        self.rest: Callable[[], float] = at_once
        self.heads: Callable[[Message, Head], bool] = _none
        self.resumes: Resume | None = None
        self.is_one_way = False
        self._way = way
        self._open: dict[Carried, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """How many exchanges there are."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no further message can be carried now."""
        return len(self._open) >= MOST_EXCHANGES

    def post(self, message: Message, request: Request, after: asyncio.Event) -> asyncio.Event:
        """Carry a message as soon as ``after`` is set, and return what is set when its exchange has ended.

        A request that cannot be carried is answered with an error.
        """
        if self.full:
            self.fail(message, "has too many messages on their way")
            return after
        carried, ended = Carried(message), asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._carry(carried, request, after))
        self._open[carried] = task

        def end(_: object) -> None:
            self._open.pop(carried, None)
            ended.set()

        task.add_done_callback(end)
        return ended

    def find(self, key: bytes) -> Carried | None:
        """Return the exchange of a request."""
        return next((each for each in self._open if key and each.message.id == key), None)

    def fail(self, message: Message, why: str) -> None:
        """Answer a request with an error of the gateway."""
        if message.kind is Kind.REQUEST:
            self.take(failure(message.id, INTERNAL_ERROR, f"{self._way.name} {why}"), message.id)
        else:
            self._way.note("undelivered", f"{message.method or 'a response'}: {self._way.name} {why}")

    def close(self) -> None:
        """End every exchange; nobody is told."""
        self.take = nobody
        for carried, task in list(self._open.items()):
            carried.give_up()
            task.cancel()

    async def _carry(self, carried: Carried, request: Request, after: asyncio.Event) -> None:
        way, message = self._way, carried.message
        try:
            await after.wait()
            async with asyncio.timeout(way.patience):
                connection, head = await way.client.ask(carried, request, again=message.method != "tools/call")
            await self._answer(carried, connection, head)
        except (Broken, Busy, OSError) as error:
            self._failed(carried, error)
        finally:
            way.client.release(carried)

    async def _answer(self, carried: Carried, connection: Connection, head: Head) -> None:
        message = carried.message
        if self.heads(message, head):
            return
        if message.kind is not Kind.REQUEST or (self.is_one_way and head.status < 300):
            await self._whole(connection)
            if head.status >= 300:
                self.fail(message, f"answered HTTP {head.status}")
        elif head.status < 300 and is_events(head):
            await self._stream(carried, connection)
        else:
            answer = parse_line(await self._whole(connection))
            if answer is not None and answer.kind is Kind.RESPONSE and answer.id in (message.id, b"", b"null"):
                self.take(Message(kind=Kind.RESPONSE, id=message.id, result=answer.result, error=answer.error), b"")
            else:
                what = f"HTTP {head.status}" if head.status >= 300 else "with what is not MCP"
                self.fail(message, f"answered {what}")

    async def _whole(self, connection: Connection) -> bytes:
        async with asyncio.timeout(self._way.patience):
            return await connection.body(MAX_ANSWER)

    async def _stream(self, carried: Carried, connection: Connection) -> None:
        cursor = Cursor(carried.message.id)
        await self.follow(connection, cursor)
        if not cursor.answered:
            if not (cursor.last and self.resumes):
                raise Broken("ended its stream without an answer")
            self._way.client.release(carried)
            await self.resumes(carried, cursor)

    async def follow(self, connection: Connection, cursor: Cursor) -> None:
        """Take what comes on the stream of an answer, up to its end."""
        await read_events(connection, cursor, self._way.patience, Listening(self, self._way, cursor.identifier))

    def _failed(self, carried: Carried, error: Exception) -> None:
        if carried.fault:
            return
        if not isinstance(error, (Busy, TimeoutError)):
            self._way.suspect()
        self.fail(carried.message, _said(error))


def _none(message: Message, head: Head) -> bool:
    return False


def _said(error: Exception) -> str:
    if isinstance(error, Busy):
        return "takes no more connections for now"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return explained(error) if isinstance(error, OSError) else str(error)
