"""One open outlet: the services behind each socket of a namespace, and how they end together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from thv_core.spi import Outlet, SocketKind, outbound_rules
from thv_egress import sockets
from thv_egress.accepting import Doors
from thv_egress.dialing import Dialer
from thv_egress.ledger import Ledger
from thv_egress.lookups import LookupService
from thv_egress.names import PoolNames
from thv_egress.parents import Parents
from thv_egress.passages import Passages
from thv_egress.proxy import ProxyService
from thv_egress.recording import Recorder
from thv_egress.relaying import BUFFER, Allowance
from thv_egress.resolving import Resolver
from thv_egress.rules import Rules
from thv_egress.settings import Settings
from thv_egress.transparent import TransparentService

__all__ = ["NamedOutlet", "Shared"]

MOST_RESOLVERS = 16
"""How many TCP connections to the name server an outlet may have, beside the others."""


def _nothing() -> None:
    """Do nothing: what was closed is not closed again."""


@dataclass(frozen=True)
class Shared:
    """What all outlets of a process share; ``buffer`` holds bytes only while one event of the loop is handled."""

    settings: Settings
    recorder: Recorder
    resolver: Resolver = field(default_factory=Resolver)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(BUFFER)), repr=False)


class NamedOutlet:
    """Serves the sockets of one outlet on the running loop until it is closed; ``closed`` is called then.

    :raises ThvError: when the rules or the proxies of the outlet are not usable.
    """

    __slots__ = ("_closed", "_datagrams", "_doors", "_ledger", "_passages", "_resolvers", "names")

    def __init__(self, outlet: Outlet, names: PoolNames, shared: Shared, closed: Callable[[], None]) -> None:
        settings, rules = shared.settings, Rules(outbound_rules(outlet.network))
        dialer = Dialer(rules, shared.resolver, Parents(outlet.proxies), names.pool)
        self.names, self._closed = names, closed
        self._ledger = Ledger(outlet, shared.recorder)
        allowance = Allowance(settings.allowance)
        self._passages = Passages(self._ledger, dialer, allowance, shared.buffer, settings.idle_timeout)
        self._doors, self._resolvers = Doors(settings.max_connections), Doors(MOST_RESOLVERS)
        self._datagrams: list[socket.socket] = []
        self._open(outlet, rules, settings)

    def close(self) -> None:
        """Stop: cut and record every connection, close every socket."""
        self._passages.close()
        self._doors.close()
        self._resolvers.close()
        for sock in self._datagrams:
            sockets.discard(sock)
        self._ledger.close()
        closed, self._closed = self._closed, _nothing
        closed()

    def _open(self, outlet: Outlet, rules: Rules, settings: Settings) -> None:
        transparent = TransparentService(self._passages, rules, self.names)
        proxy = ProxyService(self._passages, rules, settings.idle_timeout)
        lookups = LookupService(self._ledger, rules, self.names)
        opening: dict[SocketKind, Callable[[socket.socket], None]] = {
            SocketKind.PORT: lambda sock: self._doors.open(sock, transparent),
            SocketKind.PROXY: lambda sock: self._doors.open(sock, proxy),
            SocketKind.DNS_TCP: lambda sock: self._resolvers.open(sock, lookups),
            SocketKind.DNS_UDP: lambda sock: self._receive(sock, lookups),
            # Connectors lead into the namespace, not out of it; whoever handed one over gave it up.
            SocketKind.CONNECTOR: sockets.discard,
        }
        for made, sock in outlet.sockets:
            sock.setblocking(False)
            opening[made.kind](sock)

    def _receive(self, sock: socket.socket, lookups: LookupService) -> None:
        self._datagrams.append(sock)
        asyncio.get_running_loop().add_reader(sock, lookups.receive, sock)
