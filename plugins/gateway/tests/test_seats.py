"""A process of the server for each session: wanted by the gateway, published by control, which is this test."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.document import decode_document
from thv_core.model.route import Route, RouteReport, RouteState, Seat, Terms
from thv_gateway.pipes.seats import Seats, seat_name
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port
from thv_testkit.waiting import eventually

Another = Callable[..., McpClient]


class Control:
    """Starts a process for each seat that the gateway wants, and ends those that it wants no more."""

    def __init__(self, gateway: RunningGateway, route: Route, start: Callable[..., RunningServer]) -> None:
        self.gateway = gateway
        self.route = route
        self.start = start
        self.there: dict[str, RunningServer] = {}
        self.idle = False
        self.wanted: tuple[str, ...] | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, TimeoutError), self.gateway.connected() as channel:
            channel.settimeout(None)
            self.channel = channel
            with channel.makefile("rb") as lines:
                for line in lines:
                    if self.ended.is_set():
                        return
                    report = decode_document(line, RouteReport, "a report")
                    if report.seats is not None and report.seats != self.wanted:
                        self.wanted = report.seats
                        self.act()

    def act(self) -> None:
        """Bring the seats to what is wanted, and publish them."""
        wanted = self.wanted or ()
        for name in [each for each in self.there if each not in wanted]:
            self.there.pop(name).stop()
        for name in [each for each in wanted if each not in self.there]:
            if not self.idle:
                self.there[name] = self.start(name=f"{self.route.workload}-{name}")
        self.publish()

    def publish(self) -> None:
        """Write the snapshot."""
        seats = [_seat(name, server) for name, server in self.there.items()]
        self.gateway.serve(replace(self.route, seats=tuple(seats)))

    def close(self) -> None:
        """Hear no more."""
        self.ended.set()
        with contextlib.suppress(OSError):
            self.channel.shutdown(2)
        self.thread.join(5)


def _seat(name: str, server: RunningServer) -> Seat:
    folder = server.folder
    return Seat(
        seat=name,
        incarnation=f"{server.name}.1",
        stdin=str(folder / "stdin"),
        stdout=str(folder / "stdout"),
        lock=str(folder / "lock"),
    )


@pytest.fixture
def control(gateway: RunningGateway, start_server: Any) -> Iterator[Callable[..., Control]]:
    running: list[Control] = []

    def begin(**terms: Any) -> Control:
        server = start_server()
        route = replace(server.route(free_port()), terms=Terms(seats_per_client=True, **terms))
        gateway.start().serve(route)
        gateway.until(RouteState.READY, "echo.1")
        running.append(Control(gateway, route, start_server))
        return running[-1]

    yield begin
    for each in running:
        each.close()


@pytest.fixture
def client() -> Iterator[Callable[[Control], McpClient]]:
    clients: list[McpClient] = []

    def connected(control: Control) -> McpClient:
        clients.append(McpClient(control.route.port))
        clients[-1].initialize()
        return clients[-1]

    yield connected
    for each in clients:
        each.close()


def test_each_session_has_a_process_of_its_own(control: Any, client: Any) -> None:
    seated = control()
    one, other = client(seated), client(seated)
    first, second = one.count(), other.count()
    assert (first[0], second[0]) == (1, 1)
    assert first[1] != second[1]
    assert one.count() == (2, first[1])
    assert len(seated.there) == 2


def test_the_end_of_a_session_gives_its_seat_up(control: Any, client: Any) -> None:
    seated = control()
    one, other = client(seated), client(seated)
    pid = other.count()[1]
    assert one.send("DELETE", None)[0] == 204
    assert eventually(lambda: len(seated.wanted) == 1 and len(seated.there) == 1)
    assert other.count() == (2, pid)
    assert one.send("POST", {"jsonrpc": "2.0", "id": 1, "method": "ping"})[0] == 404


def test_a_session_without_a_seat_is_told_to_come_again(control: Any) -> None:
    seated = control()
    seated.idle = True
    client = McpClient(seated.route.port)
    info = {"name": "x", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    status, headers, answer = client.send("POST", body)
    assert (status, headers["retry-after"]) == (503, "1")
    assert json.loads(answer)["id"] == 1
    assert eventually(lambda: seated.wanted == ())
    client.close()


def test_no_more_seats_are_wanted_than_there_may_be(control: Any, client: Any) -> None:
    seated = control(most_seats=2)
    clients = [client(seated) for _ in range(3)]
    clients[-1].count()
    assert eventually(lambda: len(seated.wanted) == 2 and len(seated.there) == 2)


def test_a_successor_goes_on_with_the_process_of_a_session(control: Any, client: Any, gateway: Any) -> None:
    seated = control()
    one = client(seated)
    number, pid = one.count()
    seated.close()
    gateway.kill()
    one.close()
    gateway.start().until(RouteState.READY, "echo.1")
    assert one.count() == (number + 1, pid)


def test_a_successor_wants_what_it_finds_until_its_session_is_idle_for_too_long(
    control: Any, client: Any, gateway: Any
) -> None:
    seated = control(session_ttl=1.0)
    one = client(seated)
    one.count()
    name = seated.wanted[0]
    seated.close()
    gateway.kill()
    one.close()
    gateway.start()
    assert gateway.until_reported("echo.1", lambda report: report.seats is not None).seats == (name,)
    assert gateway.until_reported("echo.1", lambda report: report.seats == ()).seats == ()


def test_a_process_that_dies_is_missed_by_its_session_alone(control: Any, client: Any) -> None:
    seated = control()
    one, other = client(seated), client(seated)
    one.count()
    name = seat_name("echo.1", one.session)
    dead = seated.there.pop(name)
    dead.stop()
    assert other.count()[0] == 1
    # Control starts it anew, as another incarnation of the seat.
    seated.there[name] = seated.start(name=f"echo-{name}-again")
    seated.publish()
    assert eventually(lambda: one.count()[1] == seated.there[name].process.pid)
    assert other.count()[0] == 2


def test_the_name_of_a_seat_tells_nothing_of_its_session() -> None:
    name = seat_name("echo.1", "payload.signature")
    assert name == seat_name("echo.1", "payload.signature")
    assert name != seat_name("echo.2", "payload.signature")
    assert len(name) == 16
    assert name.isalnum()


def test_nothing_is_known_of_what_is_wanted_before_the_first_snapshot() -> None:
    seats = Seats()
    assert seats.wanted is None
    seats.arrange((), 1.0)
    assert seats.wanted == ()
    seats.want("a")
    seats.want("a")
    assert seats.wanted == ("a",)
    seats.release("a")
    assert seats.wanted == ()
