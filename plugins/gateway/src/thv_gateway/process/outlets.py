"""The sockets in servers' own namespaces: the way out is opened on some, the way in is a pool of the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from thv_core.errors import InvalidRequest, StartFailed, ThvError
from thv_core.model.egress import CallInFlight
from thv_core.model.network import Handover, MadeSocket, NetworkReport, SocketKind
from thv_core.spi.egress import Egress, OpenOutlet, Outlet
from thv_gateway.client.connectors import Connectors
from thv_gateway.client.pool import Pool
from thv_gateway.client.remote import Trust

__all__ = ["Outlets"]

Made = tuple[tuple[MadeSocket, socket.socket], ...]

_DATAGRAMS = frozenset({SocketKind.DNS_UDP})
_LISTENERS = frozenset({SocketKind.PROXY, SocketKind.DNS_TCP, SocketKind.PORT})


class _NoOutlet:
    """The way out of a server that reaches nothing."""

    def close(self) -> None:
        """Close nothing."""


@dataclass(frozen=True)
class _Joined:
    """One namespace: its way out, and the way in."""

    outlet: OpenOutlet
    pool: Pool

    def close(self) -> None:
        self.outlet.close()
        self.pool.close()


class Outlets:
    """Every outlet that was handed over, by incarnation; ``trust`` is for servers that run somewhere else.

    :param egress: returns the chosen egress, or raises what keeps it from working.
    :param calls: returns the calls in flight to an incarnation.
    """

    def __init__(
        self, egress: Callable[[], Egress], calls: Callable[[str], Sequence[CallInFlight]] = lambda _: ()
    ) -> None:
        self.trust = Trust()
        self._egress = egress
        self._calls = calls
        self._wanted: frozenset[str] = frozenset()
        self._joined: dict[str, _Joined] = {}
        self._refused: dict[str, str] = {}
        self._arrival = asyncio.Event()

    @property
    def report(self) -> NetworkReport:
        """What is missing, and what was refused."""
        missing = self._wanted - self._joined.keys() - self._refused.keys()
        return NetworkReport(missing=tuple(sorted(missing)), refused=dict(self._refused))

    def wants(self, incarnation: str) -> bool:
        """Tell whether the snapshot has this outlet."""
        return incarnation in self._wanted

    def apply(self, outlets: Iterable[str]) -> None:
        """Close every outlet but these."""
        self._wanted = frozenset(outlets)
        for name in self._joined.keys() - self._wanted:
            self._joined.pop(name).close()
        self._refused = {name: why for name, why in self._refused.items() if name in self._wanted}

    def take(self, handover: Handover, sockets: Sequence[socket.socket]) -> None:
        """Open what was handed over, unless it is there already; what goes wrong is refused, and reported."""
        name = handover.incarnation
        if name in self._joined:
            _close(sockets)
            return
        self._refused.pop(name, None)
        try:
            self._joined[name] = self._opened(handover, _matched(handover, sockets))
        except ThvError as error:
            _close(sockets)
            self._refused[name] = error.message
        else:
            self._arrival.set()
            self._arrival = asyncio.Event()

    async def way_in(self, incarnation: str) -> Pool:
        """Return the pool of connections to a server, as soon as it was handed over."""
        while incarnation not in self._joined:
            await self._arrival.wait()
        return self._joined[incarnation].pool

    def close(self) -> None:
        """Close everything."""
        self.apply(())

    def _opened(self, handover: Handover, made: Made) -> _Joined:
        connectors = [each for kind, each in made if kind.kind is SocketKind.CONNECTOR]
        rest = tuple(pair for pair in made if pair[0].kind is not SocketKind.CONNECTOR)
        outlet = self._outlet(handover, rest) if rest else _NoOutlet()
        return _Joined(outlet, Pool(Connectors(connectors)))

    def _outlet(self, handover: Handover, made: Made) -> OpenOutlet:
        name = handover.incarnation
        outlet = Outlet(
            workload=handover.workload,
            incarnation=name,
            network=handover.network,
            plan=handover.plan,
            sockets=made,
            proxies=handover.proxies,
            calls=lambda: self._calls(name),
        )
        try:
            return self._egress().open(outlet)
        except ThvError:
            raise
        except Exception as error:
            # A plugin of whoever: without its way out the server does not start, and the others are not disturbed.
            raise StartFailed(f"the egress could not be opened: {type(error).__name__}") from error


def _matched(handover: Handover, sockets: Sequence[socket.socket]) -> Made:
    """Pair each socket with what it is said to be.

    :raises InvalidRequest: when it is not.
    """
    if len(sockets) != len(handover.sockets):
        raise InvalidRequest(f"{len(handover.sockets)} sockets were announced and {len(sockets)} came")
    made = tuple(zip(handover.sockets, sockets, strict=True))
    for said, given in made:
        wanted = socket.SOCK_DGRAM if said.kind in _DATAGRAMS else socket.SOCK_STREAM
        listens = bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        is_internet = given.family in (socket.AF_INET, socket.AF_INET6)
        if not is_internet or given.type != wanted or listens != (said.kind in _LISTENERS):
            raise InvalidRequest(f"a socket that was handed over is no {said.kind.value}")
        given.setblocking(False)
    return made


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
