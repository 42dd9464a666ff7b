"""The contract of egress: what servers reach, by name, and the record of it. Group ``thv.egress``.

Control asks :meth:`Egress.plan` and :meth:`Egress.records`, in worker threads; the gateway calls :meth:`Egress.open` on
its event loop. Nothing of a server's traffic passes through control.
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from thv_core.model.egress import CallInFlight, EgressRecord
from thv_core.model.network import MadeSocket, OutletPlan
from thv_core.model.profile import Network
from thv_core.spi.drivers import Driver

__all__ = ["Egress", "OpenOutlet", "Outlet"]


@dataclass(frozen=True)
class Outlet:
    """The way out of one deployment.

    ``sockets`` are non-blocking and belong to whoever opens the outlet, which closes them. ``proxies`` are the user's
    proxy variables in upper case and may hold a password. ``calls`` returns what the server has not answered yet.
    """

    workload: str
    incarnation: str
    network: Network
    plan: OutletPlan
    sockets: tuple[tuple[MadeSocket, socket.socket], ...]
    proxies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    calls: Callable[[], Sequence[CallInFlight]] = tuple


class OpenOutlet(Protocol):
    """An outlet that is being served."""

    def close(self) -> None:
        """Stop: every connection is cut and recorded, every socket closed."""
        ...


class Egress(Driver):
    """Decides what a server reaches, connects it, and records each attempt."""

    @abstractmethod
    def plan(self, network: Network) -> OutletPlan:
        """Return the sockets that the namespace of a server with this profile needs; none when it reaches nothing.

        :raises InvalidRequest: when the profile asks for what cannot be meant.
        :raises Unsupported: when it asks for what this egress does not offer.
        """

    @abstractmethod
    def open(self, outlet: Outlet) -> OpenOutlet:
        """Serve an outlet on the running event loop, until it is closed. Never blocks.

        The names that an incarnation has looked up keep their addresses, also after this process was killed.

        :raises ThvError: when it cannot be served; the sockets are closed then.
        """

    @abstractmethod
    def records(self, *, workload: str = "", follow: bool = False) -> Iterator[Sequence[EgressRecord]]:
        """Yield what was recorded, oldest first, in batches.

        :param workload: only what this one did.
        :param follow: go on for ever; an empty batch means nothing new yet.
        """
