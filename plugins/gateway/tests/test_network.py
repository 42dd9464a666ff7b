"""The handover of sockets: what is taken, what is refused, and that nothing leaks."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.network import Handover, MadeSocket, OutletPlan, SocketKind
from thv_core.model.route import RouteState
from thv_core.spi import Network
from thv_core.spi.gateways import NETWORK_SOCKET
from thv_testkit.gateways import McpClient, RunningGateway, free_port
from thv_testkit.waiting import eventually

PROGRAMS = Path(__file__).parent / "programs"
PROXY = MadeSocket(kind=SocketKind.PROXY, port=3128)
CONNECTOR = MadeSocket(kind=SocketKind.CONNECTOR)
RESOLVER = MadeSocket(kind=SocketKind.DNS_UDP, port=53)


@pytest.fixture
def outlets(tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway whose egress writes down what it is given, and refuses the workload ``refused``."""
    command = [sys.executable, str(PROGRAMS / "serve_with_egress.py")]
    gateway = RunningGateway(command, tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


def handover(incarnation: str, *sockets: MadeSocket) -> Handover:
    return Handover(
        workload=incarnation.partition(".")[0],
        incarnation=incarnation,
        network=Network(),
        plan=OutletPlan(proxy=3128),
        sockets=sockets,
        proxies={"HTTPS_PROXY": "http://me:secret@proxy.example:8080"},
    )


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def notes(gateway: RunningGateway) -> list[str]:
    path = gateway.folder / "egress.log"
    return path.read_text().splitlines() if path.exists() else []


def descriptors(gateway: RunningGateway) -> int:
    assert gateway.process is not None
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))  # noqa: PTH208 - the folder of a process


def test_the_socket_is_its_users_own(outlets: RunningGateway, control_of: Any) -> None:
    with control_of(outlets.start()) as control:
        assert control.hear().missing == ()
        assert stat.S_IMODE((outlets.folder / NETWORK_SOCKET).stat().st_mode) == 0o600


def test_what_is_missing_is_told_on_connection_and_after_each_change(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(outlets, outlets=["b.1", "a.1"])
    with control_of(outlets.start()) as control:
        assert control.hear().missing == ("a.1", "b.1")
        control.send(handover("a.1", PROXY), [listener()])
        assert control.hear().missing == ("b.1",)
        write_snapshot(outlets, outlets=["b.1", "c.1"])
        assert control.hear().missing == ("b.1", "c.1")


def test_the_egress_gets_everything_but_the_connectors(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(outlets, outlets=["a.1"])
    with control_of(outlets.start()) as control:
        control.hear()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        control.send(handover("a.1", PROXY, CONNECTOR, RESOLVER), [listener(), socket.socket(), datagrams])
        assert control.hear().missing == ()
    assert notes(outlets) == ["open a.1 proxy:3128 dns-udp:53 proxies HTTPS_PROXY blocking False inheritable False"]


def test_a_server_that_reaches_nothing_needs_no_egress(
    gateway: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(gateway, outlets=["a.1", "b.1"])
    with control_of(gateway.start()) as control:
        control.hear()
        control.send(handover("a.1", CONNECTOR), [socket.socket()])
        assert control.hear().refused == {}
        control.send(handover("b.1", PROXY), [listener()])
        assert control.hear().refused == {"b.1": "no egress is at hand"}


def test_what_the_egress_refuses_is_reported_until_it_works(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(outlets, outlets=["refused.1", "broken.1"])
    with control_of(outlets.start()) as control:
        control.hear()
        control.send(handover("refused.1", PROXY), [listener()])
        assert control.hear().refused == {"refused.1": "not this one"}
        control.send(handover("broken.1", PROXY), [listener()])
        report = control.hear()
        assert report.refused["broken.1"] == "the egress could not be opened: ZeroDivisionError"
        assert report.missing == ()
        (outlets.folder / "relent").touch()
        control.send(handover("refused.1", PROXY), [listener()])
        assert set(control.hear().refused) == {"broken.1"}


def test_a_second_handover_is_ignored_and_its_descriptors_closed(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(outlets, outlets=["a.1"])
    with control_of(outlets.start()) as control:
        control.hear()
        control.send(handover("a.1", PROXY), [listener()])
        control.hear()
        before = descriptors(outlets)
        control.send(handover("a.1", PROXY, *[CONNECTOR] * 60), [listener(), *(socket.socket() for _ in range(60))])
        assert control.hear().refused == {}
        assert descriptors(outlets) == before
    assert len(notes(outlets)) == 1


def test_an_unknown_outlet_is_refused_after_the_snapshot_was_read_again(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    with control_of(outlets.start()) as control:
        control.hear()
        process, outlets.process = outlets.process, None
        write_snapshot(outlets, outlets=["a.1"])
        outlets.process = process
        control.send(handover("a.1", PROXY), [listener()])
        assert control.hear().refused == {}
        before = descriptors(outlets)
        control.send(handover("b.1", PROXY), [listener()])
        assert control.hear().refused == {"b.1": "b.1 is not in the routes"}
        assert descriptors(outlets) == before


def test_outlets_that_left_the_snapshot_are_closed(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    write_snapshot(outlets, outlets=["a.1", "b.1"])
    with control_of(outlets.start()) as control:
        control.hear()
        before = descriptors(outlets)
        for name in ("a.1", "b.1"):
            control.send(handover(name, PROXY, *[CONNECTOR] * 4), [listener(), *(socket.socket() for _ in range(4))])
            control.hear()
        assert descriptors(outlets) == before + 10
        write_snapshot(outlets, outlets=["b.1"])
        control.hear()
        assert notes(outlets)[-1] == "close a.1"
        assert descriptors(outlets) == before + 5


@pytest.mark.parametrize(
    ("said", "given", "reason"),
    [
        ([PROXY, PROXY], ["listener"], "2 sockets were announced and 1 came"),
        ([PROXY], [], "1 sockets were announced and 0 came"),
        ([PROXY], ["socket"], "a socket that was handed over is no proxy"),
        ([CONNECTOR], ["listener"], "a socket that was handed over is no connector"),
        ([RESOLVER], ["listener"], "a socket that was handed over is no dns-udp"),
        ([CONNECTOR], ["unix"], "a socket that was handed over is no connector"),
        ([CONNECTOR], ["file"], "1 sockets were announced and 0 came"),
    ],
)
def test_sockets_that_are_not_what_was_said_are_refused_and_closed(
    said: list[MadeSocket], given: list[str], reason: str, outlets: RunningGateway, control_of: Any, write_snapshot: Any
) -> None:
    made: dict[str, Any] = {
        "listener": listener,
        "socket": socket.socket,
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "file": lambda: Path("/dev/null").open(),  # noqa: SIM115 - closed when it was sent
    }
    write_snapshot(outlets, outlets=["a.1"])
    with control_of(outlets.start()) as control:
        control.hear()
        before = descriptors(outlets)
        control.send(handover("a.1", *said), [made[kind]() for kind in given])
        assert control.hear().refused == {"a.1": reason}
        assert descriptors(outlets) == before


@pytest.mark.parametrize("packet", [b"hello", b"{}", b"x" * 300_000], ids=["text", "empty", "too-long"])
def test_what_is_no_handover_ends_that_connection_only(packet: bytes, outlets: RunningGateway, control_of: Any) -> None:
    with control_of(outlets.start()) as other, control_of(outlets) as control:
        other.hear()
        control.hear()
        before = descriptors(outlets)
        control.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with listener() as sent:
            socket.send_fds(control.channel, [packet], [sent.fileno()])
            assert control.channel.recv(10) == b""
        assert descriptors(outlets) == before - 1
        other.send(handover("a.1", PROXY), [listener()])
        assert set(other.hear().refused) == {"a.1"}


def test_many_connections_of_control_come_and_go(outlets: RunningGateway, control_of: Any) -> None:
    with control_of(outlets.start()) as first:
        first.hear()
        before = descriptors(outlets)
        for _ in range(40):
            with control_of(outlets) as control:
                control.hear()
        eventually(lambda: descriptors(outlets) == before)


def test_the_egress_can_ask_what_a_server_on_pipes_was_doing(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any, start_server: Any, stream: Any
) -> None:
    server = start_server("scripted_server.py", {})
    client = McpClient(free_port())
    write_snapshot(outlets.start(), server.route(client.port))
    assert_names_the_call(outlets, client, control_of, stream)


def test_the_egress_can_ask_what_a_server_of_http_was_doing(
    outlets: RunningGateway, control_of: Any, write_snapshot: Any, http_server: Any, stream: Any, tmp_path: Path
) -> None:
    server = http_server("scripted_http_server.py")
    client = McpClient(free_port())
    write_snapshot(outlets.start(), server.route(tmp_path, port=client.port))
    assert_names_the_call(outlets, client, control_of, stream)


def assert_names_the_call(gateway: RunningGateway, client: McpClient, control_of: Any, stream: Any) -> None:
    with control_of(gateway) as control:
        control.hear()
        way_out = listener()
        port = way_out.getsockname()[1]
        sockets = [way_out, *(socket.socket() for _ in range(4))]
        control.send(handover("echo.1", PROXY, *[CONNECTOR] * 4), sockets)
        assert control.hear().refused == {}
    gateway.until(RouteState.READY, "echo.1")
    client.initialize()
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "never"}}
    streams = [stream(client, "POST", body) for _ in range(20)]

    def named() -> list[str]:
        socket.create_connection(("127.0.0.1", port)).close()
        eventually(lambda: len(notes(gateway)) > 1)
        return notes(gateway)[1:]

    wanted = f"tools/call never {client.session[-8:]} local"
    eventually(lambda: any(line.startswith(wanted) for line in named()))
    client.close()
    assert streams
    assert all(line.count("tools/call") <= 16 for line in named())
