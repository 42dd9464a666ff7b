"""The sockets that control keeps, and their way to a gateway that a test plays over a real Unix socket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from thv_core.errors import StartFailed
from thv_core.model.document import decode_document, encode_document
from thv_core.model.network import Handover, MadeSocket, NetworkReport, OutletPlan, SocketKind
from thv_core.model.profile import Network
from thv_core.spi.gateways import NETWORK_SOCKET
from thv_core.state.paths import Paths
from thv_supervisor.control import network_link
from thv_supervisor.control.network_link import NetworkLink

LIMIT = 20.0


class PlayedGateway:
    """One life of a gateway: a listener, and what arrives on its connections."""

    def __init__(self, paths: Paths) -> None:
        path = paths.gateway / NETWORK_SOCKET
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._connection: socket.socket | None = None
        self.sockets: list[socket.socket] = []

    async def connected(self, link: NetworkLink) -> None:
        self._connection, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self._listener), LIMIT)
        self._connection.setblocking(False)
        deadline = time.monotonic() + LIMIT
        # The link connects in a thread: it may not know yet what was accepted here.
        while link._connection is None:
            assert time.monotonic() < deadline, "the link does not notice that it is connected"
            await asyncio.sleep(0.005)

    async def say(self, *missing: str, **refused: str) -> None:
        assert self._connection is not None
        named = {name.replace("_", "."): reason for name, reason in refused.items()}
        report = NetworkReport(missing=missing, refused=named)
        await asyncio.get_running_loop().sock_sendall(self._connection, encode_document(report))

    async def takes(self) -> Handover:
        assert self._connection is not None
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._connection, 1 << 18, 253)
            except BlockingIOError:
                assert time.monotonic() < deadline, "nothing was handed over"
                await asyncio.sleep(0.005)
                continue
            self.sockets += [socket.socket(fileno=each) for each in descriptors]
            handover = decode_document(packet, Handover, "a handover")
            assert len(descriptors) == len(handover.sockets)
            return handover

    def has_nothing(self) -> bool:
        assert self._connection is not None
        try:
            self._connection.recv(9)
        except BlockingIOError:
            return True
        return False

    def die(self) -> None:
        for each in (self._listener, self._connection, *self.sockets):
            if each:
                each.close()


@contextmanager
def gateway(paths: Paths) -> Iterator[PlayedGateway]:
    played = PlayedGateway(paths)
    try:
        yield played
    finally:
        played.die()


Story = Callable[[NetworkLink, list[str]], Awaitable[None]]


@pytest.fixture
def play(paths: Paths) -> Iterator[Callable[[Story], None]]:
    """Play a story with a link that follows the gateway."""
    links: list[NetworkLink] = []

    async def once(story: Story) -> None:
        changed: list[str] = []
        link = NetworkLink(paths, changed.append)
        links.append(link)
        following = asyncio.create_task(link.follow())
        try:
            await story(link, changed)
            assert not following.done()
        finally:
            following.cancel()
            await asyncio.wait({following})

    yield lambda story: asyncio.run(once(story))
    for link in links:
        for held in list(link._held.values()):
            held.close()


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.005)


def handover(incarnation: str, kind: SocketKind = SocketKind.PROXY) -> Handover:
    return Handover(
        workload=incarnation.rpartition(".")[0],
        incarnation=incarnation,
        network=Network(),
        plan=OutletPlan(proxy=3128),
        sockets=(MadeSocket(kind=kind),),
    )


def handing(link: NetworkLink, incarnation: str, made: socket.socket | None = None) -> asyncio.Future[None]:
    """Hand one socket over, as a runtime does: in a worker thread."""
    kind = SocketKind.CONNECTOR if made else SocketKind.PROXY
    made = made or socket.create_server(("127.0.0.1", 0))
    return asyncio.ensure_future(asyncio.to_thread(link.hand, handover(incarnation, kind), (made,)))


def test_sockets_reach_the_gateway_that_is_there(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            await played.say("echo.1")
            handed = handing(link, "echo.1")
            assert await played.takes() == handover("echo.1")
            assert played.sockets[0].getsockname()[0] == "127.0.0.1"
            await played.say()
            await asyncio.wait_for(handed, LIMIT)
            assert not link.lacks("echo.1")
            assert played.has_nothing()

    play(story)


def test_a_gateway_that_is_away_gets_them_when_it_is_back(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        await asyncio.wait_for(handing(link, "echo.1"), LIMIT)
        for _ in range(2):
            with gateway(paths) as played:
                await played.connected(link)
                await played.say("echo.1")
                assert (await played.takes()).incarnation == "echo.1"
                # The listener that control kept is the one that the gateway got.
                with socket.create_connection(played.sockets[0].getsockname(), LIMIT):
                    played.sockets[0].settimeout(LIMIT)
                    played.sockets[0].accept()[0].close()
                await played.say()

    play(story)


def test_connections_of_a_dead_gateway_are_ended_before_the_next_gets_their_sockets(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(LIMIT)
        with gateway(paths) as played:
            await played.connected(link)
            handed = handing(link, "echo.1", socket.socket())
            await played.takes()
            await played.say()
            await asyncio.wait_for(handed, LIMIT)
            played.sockets[0].connect(server.getsockname())
            inside, _ = server.accept()
            await played.say("echo.1")
        inside.settimeout(LIMIT)
        with gateway(paths) as played, inside:
            await played.connected(link)
            await played.say("echo.1")
            await played.takes()
            with pytest.raises(ConnectionResetError):
                inside.recv(9)
            played.sockets[0].connect(server.getsockname())
            server.accept()[0].close()
        server.close()

    play(story)


def test_a_refusal_fails_the_start_and_nothing_is_kept(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            handed = handing(link, "echo.1")
            await played.takes()
            await played.say(echo_1="its egress is broken")
            with pytest.raises(StartFailed, match="refuses the network of echo: its egress is broken"):
                await asyncio.wait_for(handed, LIMIT)
            assert link.refusal("echo.1") == "its egress is broken"
            assert link._held == {}

    play(story)


def test_a_gateway_that_does_not_answer_holds_up_a_start_for_a_while_only(
    play: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_link, "ANSWER", 0.1)

    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            await asyncio.wait_for(handing(link, "echo.1"), LIMIT)
            await played.takes()

    play(story)


def test_a_start_does_not_wait_for_a_gateway_that_dies(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            handed = handing(link, "echo.1")
            await played.takes()
        began = time.monotonic()
        await asyncio.wait_for(handed, LIMIT)
        assert time.monotonic() - began < network_link.ANSWER - 1
        assert not link.lacks("echo.1")

    play(story)


def test_what_nobody_has_is_lacking_and_its_workload_is_told(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            await played.say("a.b.4")
            await until(lambda: changed)
            assert changed == ["a.b"]
            assert link.lacks("a.b.4")
            assert not link.lacks("a.b.5")
        await until(lambda: not link.lacks("a.b.4"))

    play(story)


def test_what_the_gateway_still_lacks_is_sent_again_but_not_at_once(
    play: Any, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_link, "RESEND", 0.2)

    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            handed = handing(link, "echo.1")
            await played.takes()
            began = time.monotonic()
            await played.say("echo.1")
            await played.takes()
            assert time.monotonic() - began > 0.1
            await played.say()
            await asyncio.wait_for(handed, LIMIT)

    play(story)


def test_forgotten_sockets_are_closed_and_the_rest_is_kept(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        for incarnation in ("echo.1", "echo.2", "other.1"):
            await asyncio.wait_for(handing(link, incarnation), LIMIT)
        first = link._held["echo.1"].sockets[0]
        link.forget("echo", but={"echo.2"})
        assert first.fileno() == -1
        assert sorted(link._held) == ["echo.2", "other.1"]
        link.forget("echo")
        assert sorted(link._held) == ["other.1"]

    play(story)


def test_a_second_handover_of_one_deployment_replaces_the_first(play: Any, paths: Paths) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        await asyncio.wait_for(handing(link, "echo.1"), LIMIT)
        first = link._held["echo.1"].sockets[0]
        await asyncio.wait_for(handing(link, "echo.1"), LIMIT)
        assert first.fileno() == -1
        assert link._held["echo.1"].sockets[0].fileno() > 0

    play(story)


@pytest.mark.parametrize("packet", [b"nonsense", b'{"unknown": 1}'])
def test_an_unreadable_report_is_logged_and_the_next_connection_works(
    play: Any, paths: Paths, packet: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(link: NetworkLink, changed: list[str]) -> None:
        with gateway(paths) as played:
            await played.connected(link)
            assert played._connection is not None
            played._connection.send(packet)
            played._connection.close()
            await played.connected(link)
            await played.say("echo.1")
            await until(lambda: link.lacks("echo.1"))

    play(story)
    assert "unreadable report" in caplog.text
