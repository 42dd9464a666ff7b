"""The driver: plans the sockets of a namespace, opens outlets in the gateway, reads the record in control."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from thv_core.errors import InvalidRequest, ThvError
from thv_core.spi import (
    Egress,
    EgressRecord,
    Network,
    OpenOutlet,
    Outlet,
    OutletPlan,
    Surroundings,
    outbound_rules,
    reached_ports,
)
from thv_egress import sockets
from thv_egress.log_reading import read_records
from thv_egress.names import PoolNames, prune
from thv_egress.recording import Recorder
from thv_egress.settings import Settings, settings_from

if TYPE_CHECKING:
    from thv_egress.outlet import NamedOutlet, Shared
    from thv_egress.resolving import Resolver

__all__ = ["NameEgress"]

PROXY_PORT, DNS_PORT = 3128, 53

FRESHENING = 86400.0
"""Seconds after which the files of open outlets are marked as in use again."""

LOG = Path("log", "egress.jsonl")


class NameEgress(Egress):
    """Reaches out by name: a name server, a listener for each port, and an HTTP proxy, under one set of rules."""

    def __init__(self, settings: Settings, state: Path, resolver: Resolver | None = None) -> None:
        self._settings, self._state, self._resolver = settings, state, resolver
        self._open: dict[str, NamedOutlet] = {}
        self._shared: Shared | None = None
        self._freshener: asyncio.TimerHandle | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], surroundings: Surroundings) -> Self:
        """Construct the egress from its section of ``config.yaml``; see :class:`~thv_egress.settings.Settings`."""
        return cls(settings_from(settings), surroundings.state)

    def plan(self, network: Network) -> OutletPlan:
        """Plan a listener for every port that a rule names, the proxy and the name server."""
        ports = reached_ports(outbound_rules(network))
        if not ports:
            return OutletPlan()
        return OutletPlan(pool=self._settings.pool, ports=ports, proxy=PROXY_PORT, dns=DNS_PORT)

    def open(self, outlet: Outlet) -> OpenOutlet:
        """Serve an outlet; see the contract."""
        try:
            opened = self._opened(outlet)
        except BaseException:
            for _, sock in outlet.sockets:
                sockets.discard(sock)
            raise
        self._open[outlet.incarnation] = opened
        self._keep_fresh()
        return opened

    def records(self, *, workload: str = "", follow: bool = False) -> Iterator[Sequence[EgressRecord]]:
        """Read the record, also while another process writes it; see the contract."""
        return read_records(self._state / LOG, self._settings.log_files, workload, follow=follow)

    def _opened(self, outlet: Outlet) -> NamedOutlet:
        # Only the gateway opens outlets; control, which plans and reads, is spared the HTTP parser.
        from thv_egress.outlet import NamedOutlet

        if outlet.incarnation in self._open:
            raise InvalidRequest(f"the outlet of {outlet.incarnation} is open already")
        names = self._names(outlet.incarnation, _pool(outlet.plan.pool or self._settings.pool))
        return NamedOutlet(outlet, names, self._sharing(), lambda: self._closed(outlet.incarnation))

    def _names(self, incarnation: str, pool: ipaddress.IPv4Network) -> PoolNames:
        if not incarnation or incarnation.startswith(".") or "/" in incarnation or "\0" in incarnation:
            raise InvalidRequest(f"{incarnation!r} is no name of an incarnation")
        directory = self._state / "names"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            prune(directory, incarnation, self._open)
        except OSError as error:
            raise ThvError(
                f"the names that servers look up cannot be kept: {error.strerror}", evidence=[str(directory)]
            ) from error
        return PoolNames(pool, directory / incarnation)

    def _sharing(self) -> Shared:
        from thv_egress.outlet import Shared
        from thv_egress.resolving import Resolver

        if self._shared is None:
            path = self._state / LOG
            recorder = Recorder(path, self._settings.log_bytes, self._settings.log_files)
            self._shared = Shared(self._settings, recorder, self._resolver or Resolver())
        self._shared.recorder.open()
        return self._shared

    def _keep_fresh(self) -> None:
        if self._freshener is None and self._open:
            self._freshener = asyncio.get_running_loop().call_later(FRESHENING, self._freshen)

    def _freshen(self) -> None:
        self._freshener = None
        for opened in self._open.values():
            with contextlib.suppress(OSError):
                opened.names.touch()
        self._keep_fresh()

    def _closed(self, incarnation: str) -> None:
        self._open.pop(incarnation, None)
        if not self._open:
            if self._freshener is not None:
                self._freshener.cancel()
                self._freshener = None
            if self._shared is not None:
                self._shared.recorder.close()


def _pool(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise InvalidRequest(f"the pool of the outlet is no IPv4 network: {error}") from None
