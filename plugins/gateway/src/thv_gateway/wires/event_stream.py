"""Read the server-sent events of one answer: messages, and from where the stream can be resumed.

Source: MCP 2025-11-25, transports (resumability, polling); WHATWG HTML, server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from thv_core.model.message import Kind, Message
from thv_gateway.client.connection import Broken, Connection
from thv_gateway.messages.events import Event, EventReader, TooLong
from thv_gateway.messages.parsing import parse_line

__all__ = ["LONGEST_RETRY", "Cursor", "Reader", "read_events"]

LINGER_SECONDS = 2.0
"""So long a stream may go on that has delivered what was asked for."""

SHORTEST_RETRY = 0.01
LONGEST_RETRY = 30.0
_EVENTS_PER_TURN = 16
_MAX_ID = 1024


class Cursor:
    """How far a stream was read: ``last`` is the id of its last event, ``retry`` after how many seconds to ask again.

    ``answered`` tells that the response to ``identifier`` has come; a session's own stream waits for none.
    """

    def __init__(self, identifier: bytes = b"") -> None:
        self.identifier = identifier
        self.last = b""
        self.retry = 1.0
        self.answered = False

    def pass_by(self, event: Event) -> None:
        """Take note of the id of an event, and of what it says about asking again."""
        for field in event.fields:
            name, _, value = field.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"id" and len(value) <= _MAX_ID:
                self.last = value
            elif name == b"retry" and value.isdigit():
                self.retry = min(max(int(value[:9]) / 1000, SHORTEST_RETRY), LONGEST_RETRY)


class Reader(Protocol):
    """Who reads a stream."""

    def heed(self, event: Event, message: Message | None, /) -> None:
        """Take an event with data, and its message if it is one."""
        ...

    def rest(self) -> float:
        """Return for how many seconds nothing more should be read."""
        ...


async def read_events(connection: Connection, cursor: Cursor, patience: float | None, reader: Reader) -> None:
    """Hand on each event with data until the stream ends, or goes on for too long after the response.

    :param patience: seconds of silence; none for a stream that may be silent for ever.
    :raises Broken: when the stream breaks off, or is silent for too long before the response.
    """
    try:
        async with asyncio.timeout(patience) as limit:
            await _read(connection, cursor, reader, partial(_prolong, limit, patience, cursor))
    except TooLong:
        raise Broken("sent an event that does not end") from None
    except TimeoutError:
        if not cursor.answered:
            raise Broken("said nothing for too long") from None


async def _read(connection: Connection, cursor: Cursor, reader: Reader, heard: Callable[[], None]) -> None:
    events = EventReader()
    while data := await connection.read():
        await _deal(events.feed(data), cursor, reader)
        heard()


def _prolong(limit: asyncio.Timeout, patience: float | None, cursor: Cursor) -> None:
    seconds = LINGER_SECONDS if cursor.answered else patience
    if seconds is not None:
        limit.reschedule(asyncio.get_running_loop().time() + seconds)


async def _deal(events: Iterable[Event], cursor: Cursor, reader: Reader) -> None:
    for number, event in enumerate(events, start=1):
        cursor.pass_by(event)
        if event.data:
            message = parse_line(event.data)
            if message is not None and message.kind is Kind.RESPONSE and message.id == cursor.identifier:
                cursor.answered = True
            reader.heed(event, message)
        if number % _EVENTS_PER_TURN == 0:
            # A flood of small events must not keep the other workloads waiting.
            await asyncio.sleep(0)
    seconds = reader.rest()
    while seconds:
        await asyncio.sleep(seconds)
        seconds = reader.rest()
