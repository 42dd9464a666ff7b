"""Hand a request on to the principal, as it came: what a worker cannot answer by itself belongs to that process.

Two fields of our own say what the connection between the two does not: from where the client came, and whether over
TLS. Nobody but our user can connect to the principal there, and whatever a client says in those fields is dropped.
"""

from __future__ import annotations

from pathlib import Path

from thv_core.spi.middleware import Reply
from thv_gateway.client.connection import Broken, Connection, Head
from thv_gateway.client.pool import Busy, Pool
from thv_gateway.messages.answers import INTERNAL_ERROR, INVALID_REQUEST, refusal
from thv_gateway.stages.chain import Arrival
from thv_gateway.stages.head import MAX_BODY
from thv_gateway.web.app import Application
from thv_gateway.web.lobby import Site
from thv_gateway.web.peer import Gone
from thv_gateway.web.reception import RETRY
from thv_gateway.web.request import Request
from thv_gateway.workers.unix import UnixDialler

__all__ = ["Forwarder", "received"]

_CLIENT, _SECURE = b"thv-client", b"thv-secure"

_OF_THE_CONNECTION = frozenset(
    {
        *(b"connection", b"content-length", b"expect", b"keep-alive", b"origin", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", _CLIENT, _SECURE),
    }
)
"""What belongs to this connection; the origin was judged here, where the listener's name is known."""

_AWAY = refusal(503, INTERNAL_ERROR, "The gateway is being restarted", headers=RETRY)
_LOST = refusal(503, INTERNAL_ERROR, "The gateway was restarted before it answered")
_BUSY = refusal(503, INTERNAL_ERROR, "Too many calls in flight", headers=RETRY)
_TOO_LARGE = refusal(413, INVALID_REQUEST, f"The body is larger than {MAX_BODY} bytes")


class Forwarder:
    """Knows where the principal listens for one workload."""

    def __init__(self, path: Path) -> None:
        self._pool = Pool(UnixDialler(path))

    async def carry(self, arrival: Arrival) -> None:
        """Answer a request with what the principal answers."""
        peer = arrival.peer
        body = await peer.body(MAX_BODY) if arrival.method == "POST" else b""
        if body is None:
            peer.reply(_TOO_LARGE)
            return
        try:
            connection = self._pool.take() or await self._pool.lease(0)
        except (Busy, OSError) as error:
            peer.reply(_BUSY if isinstance(error, Busy) else _AWAY)
            return
        forget = peer.on_gone(connection.abort)
        try:
            await self._carried(arrival, connection, _written(arrival, body))
        except Broken:
            if connection.begun or peer.is_gone:
                raise Gone from None
            # It may have been carried out: nobody is told to send it again at once.
            peer.reply(_LOST)
        finally:
            forget()
            self._pool.release(connection)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @staticmethod
    async def _carried(arrival: Arrival, connection: Connection, request: bytes) -> None:
        peer = arrival.peer
        head = await connection.ask(request)
        fields = tuple(field for field in head.fields.items() if field[0] not in _OF_THE_CONNECTION)
        if _has_length(head):
            peer.reply(Reply(head.status, await connection.body(2 * MAX_BODY), fields))
            return
        peer.begin(head.status, fields)
        while piece := await connection.read():
            await peer.write(piece)
        peer.finish()


def received(workload: str, app: Application) -> Site:
    """Return what answers the requests of a workload that were handed on, as if they had come to this process."""

    async def answer(request: Request) -> None:
        heading = request.heading
        face = app.faces.get(heading.target.path)
        if face is None:
            await app(request)
            return
        # What is known of a head is not looked at: a connection carries the requests of one client after another.
        arrival = Arrival(
            workload=workload,
            method=heading.method,
            path=heading.target.path,
            headers=tuple(field for field in heading.headers if field[0] not in (_CLIENT, _SECURE)),
            client=heading.fields.get(_CLIENT, b"").decode("latin-1"),
            peer=request,
            fields=heading.fields,
            query=heading.target.query,
            secure=heading.fields.get(_SECURE) == b"1",
        )
        await face(arrival)

    return answer


def _has_length(head: Head) -> bool:
    length = head.fields.get(b"content-length", b"")
    return head.status in (202, 204) or (length.isdigit() and int(length) <= MAX_BODY)


def _written(arrival: Arrival, body: bytes) -> bytes:
    query = b"?" + arrival.query if arrival.query else b""
    lines = [b"%b %b%b HTTP/1.1" % (arrival.method.encode(), arrival.path.encode(), query)]
    lines += [b"%b: %b" % field for field in arrival.headers if field[0] not in _OF_THE_CONNECTION]
    lines += [b"%b: %b" % (_CLIENT, arrival.client.encode()), b"%b: %d" % (_SECURE, arrival.secure)]
    lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
