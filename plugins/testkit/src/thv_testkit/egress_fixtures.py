"""What every test of an egress is given."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator

import pytest

from thv_core.model.run_config import PROXY_PORT
from thv_core.spi import CallInFlight, Egress, MadeSocket, Network, Outlet, OutletPlan, SocketKind, Surroundings
from thv_testkit.outlets import made_socket

__all__ = ["CALL", "NOWHERE", "POOL", "EgressFixtures", "opened", "outlet_of", "serving"]

POOL = "127.77.0.0/16"
"""A pool whose addresses are on the loopback interface of any Linux machine."""

NOWHERE = "conformance.invalid"
"""A name that the rules may allow, and that leads nowhere (RFC 6761, section 6.4)."""

CALL = CallInFlight(method="tools/call", name="fetch", session="s1", user="local")
"""What the server of an outlet has not answered yet."""


class EgressFixtures:
    """The egress under test, and a second instance of it."""

    @pytest.fixture
    def egress(self, surroundings: Surroundings) -> Egress:
        """Give the egress under test."""
        raise NotImplementedError("give a fixture named egress")

    @pytest.fixture
    def again(self, egress: Egress, surroundings: Surroundings) -> Egress:
        """Give a second instance in the same surroundings, as the gateway that comes back has it."""
        return type(egress).from_settings({}, surroundings)


def outlet_of(network: Network, *sockets: tuple[MadeSocket, socket.socket], workload: str = "conformance") -> Outlet:
    """Return the outlet of a workload whose plan is for the loopback interface."""
    return Outlet(
        workload=workload,
        incarnation=f"{workload}.1",
        network=network,
        plan=OutletPlan(pool=POOL, proxy=PROXY_PORT, dns=53),
        sockets=sockets,
        calls=lambda: (CALL,),
    )


@contextlib.contextmanager
def serving(
    egress: Egress, network: Network, *sockets: tuple[MadeSocket, socket.socket], workload: str = "conformance"
) -> Generator[None]:
    """Serve these sockets, and close them in the end."""
    with contextlib.closing(egress.open(outlet_of(network, *sockets, workload=workload))):
        yield


@contextlib.contextmanager
def opened(
    egress: Egress, network: Network, *kinds: SocketKind, workload: str = "conformance"
) -> Generator[tuple[MadeSocket, ...]]:
    """Make and serve sockets of these kinds."""
    made = [made_socket(kind) for kind in kinds]
    with serving(egress, network, *made, workload=workload):
        yield tuple(each for each, _ in made)
