"""Servers in network namespaces of their own: all on the same port, none of them reachable but by the gateway."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from thv_core.model.network import Handover, MadeSocket, OutletPlan, SocketKind
from thv_core.model.route import Route, RouteState
from thv_core.spi import Network
from thv_testkit.gateways import McpClient, RunningGateway, free_port

PROGRAM = Path(__file__).parent / "programs/server_in_namespace.py"
CONNECTORS = 8
NAMES = ("one", "two")


@contextmanager
def isolated() -> Iterator[tuple[subprocess.Popen[bytes], list[socket.socket]]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        command = [sys.executable, str(PROGRAM), str(theirs.fileno()), str(CONNECTORS)]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 10, CONNECTORS)
    try:
        assert len(descriptors) == CONNECTORS, "this machine makes no user and network namespaces"
        yield process, [socket.socket(fileno=each) for each in descriptors]
    finally:
        process.kill()
        process.wait()


def test_two_servers_on_one_port_are_reached_each_by_its_own_sockets(
    gateway: RunningGateway, write_snapshot: Any, control_of: Any, tmp_path: Path
) -> None:
    routes = [
        Route(
            workload=name,
            incarnation=f"{name}.1",
            port=free_port(),
            log=str(tmp_path / "log"),
            transport="streamable-http",
            target_port=8080,
        )
        for name in NAMES
    ]
    write_snapshot(gateway.start(), *routes)
    with ExitStack() as stack:
        control = stack.enter_context(control_of(gateway))
        control.hear()
        pids: list[int] = []
        for route in routes:
            process, sockets = stack.enter_context(isolated())
            pids.append(process.pid)
            handover = Handover(
                workload=route.workload,
                incarnation=route.incarnation,
                network=Network(),
                plan=OutletPlan(connectors=CONNECTORS),
                sockets=(MadeSocket(kind=SocketKind.CONNECTOR),) * CONNECTORS,
            )
            control.send(handover, sockets)
            assert control.hear().refused == {}
        for route, pid in zip(routes, pids, strict=True):
            gateway.until(RouteState.READY, route.incarnation)
            client = McpClient(route.port)
            stack.callback(client.close)
            client.initialize()
            assert [client.count() for _ in range(3)] == [(1, pid), (2, pid), (3, pid)]
