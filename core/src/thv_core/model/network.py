"""How a server's network namespace is joined to the gateway: namespaces, the sockets made in them, and their handover.

Control runs the helper of ``thv-netns``, which makes the sockets of an :class:`OutletPlan` inside a namespace; control
hands them to the gateway over the Unix socket ``NETWORK_SOCKET``, one packet for each :class:`Handover`, with the
descriptors in the order of ``sockets``. The gateway answers each packet, and each change, with a
:class:`NetworkReport`. Nothing of this is written to disk.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from thv_core.model.document import Document
from thv_core.model.profile import Network

__all__ = ["Handover", "MadeSocket", "Namespace", "NetworkReport", "OutletPlan", "SocketKind"]


class Namespace(Document, frozen=True, kw_only=True):
    """The network namespace of a deployment: that of process ``pid``, started ``start`` clock ticks after the boot."""

    pid: int
    start: int


class SocketKind(StrEnum):
    """What a socket inside a namespace is for.

    ``proxy`` listens for an HTTP proxy's clients, ``dns-udp`` and ``dns-tcp`` for resolvers, ``port`` for any address
    of the pool; ``connector`` is a TCP socket that is not connected yet, to be connected to the server's own port.
    """

    PROXY = "proxy"
    DNS_UDP = "dns-udp"
    DNS_TCP = "dns-tcp"
    PORT = "port"
    CONNECTOR = "connector"


class MadeSocket(Document, frozen=True, kw_only=True):
    """One socket that the helper made; ``port`` is the local one of a listener."""

    kind: SocketKind
    port: int = 0


class OutletPlan(Document, frozen=True, kw_only=True):
    """Which sockets a namespace needs.

    ``pool`` is a network in CIDR form whose every address leads to the listeners of ``ports``; empty is none.
    ``proxy`` and ``dns`` are ports on 127.0.0.1, 0 is none. ``connectors`` is a number of sockets.
    """

    pool: str = ""
    ports: tuple[int, ...] = ()
    proxy: int = 0
    dns: int = 0
    connectors: int = 0


class Handover(Document, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The sockets of one deployment, and what the gateway needs to serve them.

    ``incarnation`` is the label of the deployment. ``proxies`` are the user's proxy variables in upper case
    (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``); they may hold a password, so they are in no representation.
    """

    workload: str
    incarnation: str
    network: Network
    plan: OutletPlan
    sockets: tuple[MadeSocket, ...]
    proxies: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        return f"Handover({self.incarnation}, {len(self.sockets)} sockets)"


class NetworkReport(Document, frozen=True, kw_only=True):
    """Which outlets of the snapshot the gateway lacks, and which it refused, with the reason of each."""

    missing: tuple[str, ...] = ()
    refused: dict[str, str] = msgspec.field(default_factory=dict[str, str])
