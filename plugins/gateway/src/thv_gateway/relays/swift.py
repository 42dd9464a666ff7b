"""A call whose answer is handed on in the very turn of the event loop in which it comes, when nobody has to look at it.

It saves two tasks that would have to be woken; whatever is not as plain as that is left to those who wait.
"""

from __future__ import annotations

from collections.abc import Callable

from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Connection
from thv_gateway.relays.flights import Flight
from thv_gateway.relays.heads import Fields
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.relays.relayed import LINGER_SECONDS
from thv_gateway.stages.chain import Arrival
from thv_gateway.web.streams import EVENT_HEADERS

__all__ = ["Swift", "event_fields", "only_answer"]

_BEGIN = b"data: "
_EVENT = b"event: message"

Made = Callable[[Arrival, Connection], Reply | None]


class Swift:
    """Watches the connection of one exchange; a stream may end a little after the response that it is for.

    :param made: returns what a client is replied to what has come; ``None`` when that is not as simple.
    :param hear: called once: with the reply, or with ``None`` when somebody has to wait for the answer.
    """

    __slots__ = ("_flight", "_hear", "_link", "_made")

    def __init__(self, link: RelayLink, flight: Flight, made: Made, hear: Callable[[Reply | None], None]) -> None:
        self._link = link
        self._flight = flight
        self._made = made
        self._hear = hear

    def came(self) -> None:
        """Take note that something has come, or that nothing more will."""
        connection = self._flight.connection
        if connection is None:
            return
        is_broken = connection.is_broken
        if connection.head is None and not is_broken:
            return
        reply = None if is_broken else self._made(self._flight.arrival, connection)
        connection.act = None
        if reply is not None:
            connection.taken()
            self._link.flights.stir(self._flight)
            self._leave(connection)
        self._hear(reply)

    def _leave(self, connection: Connection) -> None:
        """Let go of the connection, as soon as the server has ended its answer."""
        if connection.is_whole:
            self._link.finish(self._flight)
        else:
            self._link.flights.hurry(self._flight, LINGER_SECONDS)
            connection.act = self._linger

    def _linger(self) -> None:
        connection = self._flight.connection
        if connection is None:
            return
        connection.taken()
        if connection.is_whole or connection.is_broken:
            connection.act = None
            self._link.finish(self._flight)


def only_answer(body: bytes) -> bytes | None:
    """Return the data of the only event of a stream that has no id; ``None`` when there is more to it, or less."""
    text = body.replace(b"\r\n", b"\n")
    block = text[:-2]
    if not text.endswith(b"\n\n") or b"\r" in text or b"\n\n" in block:
        return None
    data = [line for line in block.split(b"\n", 2) if line != _EVENT]
    return data[0][len(_BEGIN) :] if len(data) == 1 and data[0].startswith(_BEGIN) else None


def event_fields(fields: Fields) -> Fields:
    """Return the fields of an answer in events."""
    return (*EVENT_HEADERS, *(field for field in fields if field[0].startswith(b"mcp-")))
