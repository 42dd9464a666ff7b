"""What stands around a gateway's network: control, which hands over sockets, and servers that speak HTTP."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from msgspec.structs import replace

from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import Route
from thv_core.spi import Handover, MadeSocket, Network, NetworkReport, OutletPlan, SocketKind
from thv_core.spi.gateways import NETWORK_SOCKET
from thv_testkit.gateway_processes import ECHO, RunningGateway
from thv_testkit.outlets import made_socket

__all__ = ["NetworkPeer", "RunningHttpServer", "control_of"]

_PACKET = 1 << 20


class NetworkPeer:
    """What control is to a gateway on its network socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def hear(self) -> NetworkReport:
        """Wait for the next report."""
        packet = self._channel.recv(_PACKET)
        assert packet, "the gateway hung up"
        return decode_document(packet, NetworkReport, "a report of the network")

    def send(self, handover: Handover, sockets: Sequence[socket.socket]) -> None:
        """Send one packet with these sockets, and close them on this side."""
        socket.send_fds(self._channel, [encode_document(handover)], [each.fileno() for each in sockets])
        for each in sockets:
            each.close()

    def hand_over(
        self, incarnation: str, *kinds: SocketKind, network: Network | None = None, connectors: int = 0
    ) -> tuple[NetworkReport, tuple[MadeSocket, ...]]:
        """Make sockets on loopback and hand them over; return the report on that, and what was made."""
        every = (*kinds, *[SocketKind.CONNECTOR] * connectors)
        made = [made_socket(kind) for kind in every]
        handover = Handover(
            workload=incarnation.rpartition(".")[0],
            incarnation=incarnation,
            network=network or Network(),
            plan=OutletPlan(pool="127.77.0.0/16", connectors=connectors),
            sockets=tuple(each for each, _ in made),
        )
        self.send(handover, [each for _, each in made])
        return self.hear(), handover.sockets


@contextlib.contextmanager
def control_of(gateway: RunningGateway) -> Generator[NetworkPeer]:
    """Connect to the network socket of a gateway."""
    with gateway.connected(NETWORK_SOCKET, socket.SOCK_SEQPACKET) as channel:
        yield NetworkPeer(channel)


class RunningHttpServer:
    """The echo server over HTTP, on a port of loopback: on the host, where the sockets of a test are made, too."""

    def __init__(self, folder: Path, port: int = 0, name: str = "echo", generation: int = 1) -> None:
        self.name, self.generation = name, generation
        self._log = folder / f"{name}.{generation}.log"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-I", "-S", str(ECHO), "--http", str(port)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.port = int(self.process.stderr.readline().rpartition(":")[2].partition("/")[0])

    def route(self, port: int, **changes: object) -> Route:
        """Return the route to this server; ``changes`` are fields of the route."""
        route = Route(
            workload=self.name,
            incarnation=f"{self.name}.{self.generation}",
            port=port,
            log=str(self._log),
            transport="streamable-http",
            target_port=self.port,
        )
        return replace(route, **changes)

    def stop(self) -> None:
        """Kill the server."""
        self.process.kill()
        with self.process:
            """Leaving closes the pipe and waits."""
