"""Keep the sockets of every server's network namespace, and hand them to whichever gateway is alive.

The gateway of today may be killed; the sockets live on here, connections to them wait in their queues, and the gateway
of tomorrow says which it lacks. They are closed when their deployment leaves the snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from thv_core.errors import InvalidDocument, StartFailed, TimedOut
from thv_core.model.document import decode_document, encode_document
from thv_core.model.network import Handover, NetworkReport, SocketKind
from thv_core.spi.gateways import NETWORK_SOCKET
from thv_core.state.files import connect_unix
from thv_core.state.paths import Paths

__all__ = ["NetworkLink"]

ANSWER = 5.0
"""Seconds that a start waits for a gateway that is there; afterwards it goes on without its answer."""

HAND_LIMIT = 20.0
SEND_LIMIT = 5.0
FULL = 0.02
"""Seconds between two attempts to send to a gateway whose queue is full."""

RESEND = 1.0
"""Seconds after which sockets that the gateway still lacks are sent to it again."""

REPORT_LIMIT = 1 << 18
SLOWEST = 1.0

ADDRESS_SIZE = 16

_libc = ctypes.CDLL(None)

log = logging.getLogger(__name__)


@dataclass
class Held:
    """The sockets of one deployment.

    ``sent`` is the connection over which they went last, ``due`` when the loop may send them (again), ``refusal`` what
    the gateway had against them.
    """

    handover: Handover
    sockets: tuple[socket.socket, ...] = field(repr=False)
    sent: socket.socket | None = None
    due: float = 0.0
    refusal: str = ""

    def close(self) -> None:
        """Close our descriptors; those that the gateway has live on."""
        for each in self.sockets:
            each.close()

    def release(self) -> None:
        """End the connections to the server that a dead gateway had: they would live on in our descriptors."""
        for made, each in zip(self.handover.sockets, self.sockets, strict=True):
            if made.kind is SocketKind.CONNECTOR:
                # To connect to AF_UNSPEC makes a TCP socket as good as new; Python offers no such address.
                _libc.connect(each.fileno(), bytes(ADDRESS_SIZE), ADDRESS_SIZE)


class NetworkLink:
    """Sockets by incarnation, and the connection over which they go. Construct it on the event loop.

    :param changed: told the workload of each deployment whose sockets are lacking or were refused.
    """

    def __init__(self, paths: Paths, changed: Callable[[str], None]) -> None:
        self._path = paths.gateway / NETWORK_SOCKET
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, Held] = {}
        self._connection: socket.socket | None = None
        self._report = NetworkReport()
        self._reports = 0
        self._heard = asyncio.Condition()

    def lacks(self, incarnation: str) -> bool:
        """Tell whether neither the gateway nor this process has the sockets of a deployment."""
        return incarnation in self._report.missing and incarnation not in self._held

    def refusal(self, incarnation: str) -> str:
        """Return why the gateway refused the sockets of a deployment, or nothing."""
        return self._report.refused.get(incarnation, "")

    def forget(self, workload: str, but: Iterable[str] = ()) -> None:
        """Close the sockets of every deployment of a workload, but those named."""
        kept = set(but)
        for incarnation, held in list(self._held.items()):
            if held.handover.workload == workload and incarnation not in kept:
                self._held.pop(incarnation).close()

    def hand(self, handover: Handover, sockets: tuple[socket.socket, ...]) -> None:
        """Keep sockets and hand them over. Called in worker threads.

        A gateway that is away gets them when it is back; what a server sends meanwhile waits.

        :raises StartFailed: when the gateway refuses them; they are closed then.
        :raises TimedOut: when the event loop does not get to it.
        """
        held = Held(handover, sockets)
        future: Future[str] = asyncio.run_coroutine_threadsafe(self._handed(held), self._loop)
        try:
            refusal = future.result(HAND_LIMIT)
        except TimeoutError:
            future.cancel()
            raise TimedOut(f"the sockets of {handover.incarnation} were not taken within {HAND_LIMIT:g} s") from None
        if refusal:
            raise StartFailed(
                f"the gateway refuses the network of {handover.workload}: {refusal}",
                hint="See whether its egress works:  thv plugins check",
            )

    async def follow(self) -> None:
        """Stay connected to whichever gateway is alive, for ever."""
        delay = 0.05
        while True:
            began = self._loop.time()
            with contextlib.suppress(OSError):
                connection = await asyncio.to_thread(connect_unix, self._path, kind=socket.SOCK_SEQPACKET)
                with connection:
                    await self._listen(connection)
            delay = 0.05 if self._loop.time() - began > SLOWEST else min(delay * 2, SLOWEST)
            await asyncio.sleep(delay)

    async def _listen(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        for held in self._held.values():
            held.due = 0.0
        self._connection = connection
        try:
            while await self._heard_more(connection):
                await self._deliver(connection)
        except InvalidDocument as error:
            log.error("the gateway sent an unreadable report: %s", error)
        finally:
            self._connection = None
            await self._note(NetworkReport())

    async def _heard_more(self, connection: socket.socket) -> bool:
        """Take the next report; tell whether the gateway is still there."""
        try:
            packet = await asyncio.wait_for(self._loop.sock_recv(connection, REPORT_LIMIT), RESEND)
        except TimeoutError:
            return True
        if packet:
            await self._note(decode_document(packet, NetworkReport, "a report of the gateway"))
        return bool(packet)

    async def _note(self, report: NetworkReport) -> None:
        before, self._report = self._report, report
        self._reports += 1
        for incarnation, reason in report.refused.items():
            if incarnation in self._held:
                self._held[incarnation].refusal = reason
        fresh = {*report.missing, *report.refused} - {*before.missing, *before.refused}
        for incarnation in fresh:
            self._changed(incarnation.rpartition(".")[0])
        async with self._heard:
            self._heard.notify_all()

    async def _deliver(self, connection: socket.socket) -> None:
        """Send what the gateway lacks and we have, none of it more than once a second."""
        for incarnation in self._report.missing:
            held = self._held.get(incarnation)
            if held and incarnation not in self._report.refused and held.due <= self._loop.time():
                await self._sent(connection, held)

    async def _handed(self, held: Held) -> str:
        incarnation = held.handover.incarnation
        self._keep(held)
        connection, heard = self._connection, self._reports
        if connection is None or not await self._sent(connection, held):
            return ""

        def answered() -> bool:
            told = self._reports > heard and incarnation not in self._report.missing
            return told or bool(held.refusal) or self._connection is not connection

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._until(answered), ANSWER)
        if held.refusal:
            self._held.pop(incarnation, held).close()
        return held.refusal

    async def _until(self, answered: Callable[[], bool]) -> None:
        async with self._heard:
            await self._heard.wait_for(answered)

    def _keep(self, held: Held) -> None:
        former = self._held.pop(held.handover.incarnation, None)
        if former:
            former.close()
        self._held[held.handover.incarnation] = held

    async def _sent(self, connection: socket.socket, held: Held) -> bool:
        if held.sent not in (None, connection):
            held.release()
        held.sent, held.due = connection, self._loop.time() + RESEND
        packet = encode_document(held.handover)
        try:
            await asyncio.wait_for(self._send(connection, packet, held), SEND_LIMIT)
        except (OSError, TimeoutError) as error:
            log.warning("the sockets of %s were not handed over: %r", held.handover.incarnation, error)
            return False
        return True

    @staticmethod
    async def _send(connection: socket.socket, packet: bytes, held: Held) -> None:
        while True:
            try:
                # One call on the loop: nobody can close the descriptors, and another file get their numbers, meanwhile.
                socket.send_fds(connection, [packet], [each.fileno() for each in held.sockets])
            except BlockingIOError:
                await asyncio.sleep(FULL)
            else:
                return
