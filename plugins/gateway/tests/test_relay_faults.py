"""What goes wrong between the gateway and a server over HTTP, and that nothing is left of it: all of it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from thv_core.model.message import Kind, Message
from thv_core.model.route import Route, RouteState
from thv_core.spi.middleware import Reply
from thv_gateway.messages.versions import Era
from thv_gateway.process.outlets import Outlets
from thv_gateway.process.proxylog import ProxyLog
from thv_gateway.relays.relay import RelayEndpoint
from thv_gateway.relays.relay_link import RelayLink
from thv_gateway.servers.handshake import Handshakes
from thv_gateway.servers.upstream import Estate
from thv_gateway.sessions.asked import Asked
from thv_gateway.sessions.memory import Recollection
from thv_gateway.sessions.sessions import Sessions
from thv_gateway.stages.chain import Arrival, Chain
from thv_gateway.web.peer import Gone

BOUND = 10.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
RESULT = b'{"jsonrpc":"2.0","id":7,"result":{}}'
GOOD = HEAD + b"content-length: %d\r\n\r\n%b" % (len(RESULT), RESULT)
PROGRESS = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
HELLO = b'{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}'

Deed = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Server:
    """Initializes as it should, and does as it is told with every call; counts its connections."""

    def __init__(self) -> None:
        self.deed: Deed = good
        self.calls = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.made = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        self.made += 1
        try:
            while True:
                await self.handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        body = await reader.readexactly(int(length or 0))
        if b'"initialize"' in body:
            told = b'{"jsonrpc":"2.0","id":"thv-initialize-w.1","result":%b}' % HELLO
            writer.write(HEAD + b"content-length: %d\r\n\r\n%b" % (len(told), told))
        elif b'"tools/call"' in body or head.startswith(b"GET"):
            self.calls += 1
            await self.deed(reader, writer)
        elif b'"id"' not in body:
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


async def good(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GOOD)


def says(data: bytes, *, ends: bool = True) -> Deed:
    """Say this and hang up, or say this and nothing more."""

    async def deed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if not ends:
            await reader.read(1)
        writer.transport.abort()
        raise ConnectionResetError

    return deed


class Client:
    """The peer of one exchange: notes what it is sent, and goes away when the test says so."""

    def __init__(self) -> None:
        self.is_gone = False
        self.pieces: list[bytes] = []
        self.finished = False
        self.heard = asyncio.Event()
        self.acts: dict[object, Callable[[], None]] = {}

    def on_gone(self, act: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self.acts[key] = act
        return lambda: self.acts.pop(key, None) and None

    async def body(self, limit: int) -> bytes | None:
        return b""

    def reply(self, reply: Reply) -> None:
        raise AssertionError("an endpoint returns what is answered as a whole")

    def begin(self, status: int, fields: Any) -> None:
        self.pieces.append(b"%d" % status)

    async def write(self, piece: bytes) -> None:
        if self.is_gone:
            raise Gone
        self.pieces.append(piece)
        self.heard.set()

    def finish(self) -> None:
        self.finished = True

    def leave(self) -> None:
        self.is_gone = True
        for act in list(self.acts.values()):
            act()


class Scene:
    """A server, the way to it, and what is left of exchanges."""

    def __init__(self, server: Server, link: RelayLink, estate: Estate) -> None:
        self.server, self.link = server, link
        self.endpoint = RelayEndpoint(link, estate)
        self.tasks = asyncio.all_tasks()
        self.chain = Chain([], lambda stage, error: None)

    def arrival(self, client: Client, era: Era = Era.LEGACY, method: str = "POST") -> Arrival:
        call = Message(kind=Kind.REQUEST, id=b"7", method="tools/call", params={}, has_params=True)
        message = call if method == "POST" else None
        return Arrival("w", method, "/mcp", (), message=message, peer=client, era=era)

    async def exchange(self, client: Client, era: Era = Era.LEGACY, method: str = "POST") -> Reply | None:
        """Run an exchange as the application does."""
        arrival = self.arrival(client, era, method)
        answer = await self.endpoint.answer(arrival, self.chain)
        if isinstance(answer, Reply):
            return answer
        await answer.flow(arrival, self.chain)
        return None

    async def nothing_is_left(self, client: Client) -> None:
        """Wait until everything of the exchange is gone: flight, task, lease and what watched the client."""

        def left() -> list[object]:
            taken = len(self.link.pool) - self.link.pool._tokens
            mine = {task for task in asyncio.all_tasks() if "Server.serve" not in repr(task)}
            looking = {task for task in mine - self.tasks if "_look" not in repr(task)} - {asyncio.current_task()}
            return [*self.link.flights, *client.acts, *looking, *range(taken)]

        async with asyncio.timeout(BOUND):
            while left():  # noqa: ASYNC110 - the condition is of plain values
                await asyncio.sleep(0.005)


def no_egress() -> Any:
    raise AssertionError("nobody goes out")


def play(tmp_path: Path, work: Callable[[Scene], Awaitable[None]], **changes: Any) -> None:
    async def act() -> None:
        server = Server()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        known = Recollection()
        estate = Estate(
            sessions=Sessions("w", b"k" * 32, bytes, lambda: 1.0, known),
            handshakes=Handshakes(tmp_path / "handshakes.json"),
            outlets=Outlets(no_egress),
            log=ProxyLog(str(tmp_path / "log")),
            prefix="g",
            recollection=known,
            remember=lambda: None,
            asked=Asked(),
        )
        settings: dict[str, Any] = {"workload": "w", "incarnation": "w.1", "port": 1, "log": str(tmp_path / "log")}
        settings |= {"transport": "streamable-http", "target_url": f"http://127.0.0.1:{port}/mcp"}
        link = RelayLink(Route(**settings | changes), estate, lambda: None)
        async with asyncio.timeout(BOUND):
            while link.state is RouteState.STARTING:  # noqa: ASYNC110 - the condition is of plain values
                await asyncio.sleep(0.005)
        assert link.state is RouteState.READY, link.reason
        try:
            async with asyncio.timeout(BOUND):
                await work(Scene(server, link, estate))
        finally:
            link.close("it is over")
            listener.close()
            async with asyncio.timeout(BOUND):
                while server.open:  # noqa: ASYNC110 - the condition is of plain values
                    await asyncio.sleep(0.005)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(act())


DEEDS: dict[str, tuple[Deed, str]] = {
    "dies-before-it-answers": (says(b""), "w closed the connection"),
    "dies-in-its-head": (says(b"HTTP/1.1 200 OK\r\ncont"), "w closed the connection"),
    "dies-in-its-body": (says(HEAD + b"content-length: 90\r\n\r\n{"), "w closed the connection"),
    "answers-garbage": (says(b"\x00\xff" * 50), "w answered with what is not HTTP"),
    "answers-another-call": (
        says(GOOD.replace(b'"id":7', b'"id":8')),
        "w answered HTTP 200 with what is not MCP",
    ),
    "answers-no-json": (says(HEAD + b"content-length: 3\r\n\r\n{]}"), "w answered HTTP 200 with what is not MCP"),
    "answers-twice-the-length": (says(HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"), "w answered with"),
}


@pytest.mark.parametrize("era", list(Era))
@pytest.mark.parametrize("case", DEEDS)
def test_a_server_that_fails_ends_its_call_with_a_reason_and_leaves_nothing(
    case: str, era: Era, tmp_path: Path
) -> None:
    deed, text = DEEDS[case]

    async def work(scene: Scene) -> None:
        scene.server.deed = deed
        client = Client()
        reply = await scene.exchange(client, era)
        assert reply is not None
        assert (reply.status, text.encode() in reply.body) == (502, True), reply
        await scene.nothing_is_left(client)
        assert scene.server.calls == 1
        scene.server.deed = good
        again = await scene.exchange(client, era)
        assert again is not None
        assert (again.status, again.body) == (200, RESULT)
        await scene.nothing_is_left(client)

    play(tmp_path, work)


@pytest.mark.parametrize("era", list(Era))
@pytest.mark.parametrize("begun", [b"", chunk(PROGRESS), chunk(PROGRESS)[:-9], b"nonsense\r\n"])
def test_a_stream_that_breaks_off_ends_with_an_error_and_leaves_nothing(begun: bytes, era: Era, tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.server.deed = says(EVENTS + begun)
        client = Client()
        assert await scene.exchange(client, era) is None
        assert (client.pieces[0], client.finished) == (b"200", True)
        assert b'"code":-32603' in client.pieces[-1]
        await scene.nothing_is_left(client)

    play(tmp_path, work)


@pytest.mark.parametrize("said", [b"", HEAD, EVENTS, EVENTS + chunk(PROGRESS)])
@pytest.mark.parametrize("era", list(Era))
def test_a_server_that_hangs_is_given_up_and_leaves_nothing(said: bytes, era: Era, tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.server.deed = says(said, ends=False)
        client = Client()
        reply = await scene.exchange(client, era)
        told = reply.body if reply is not None else client.pieces[-1]
        assert b"did not answer in time" in told
        assert reply is None or reply.status == 504
        await scene.nothing_is_left(client)

    play(tmp_path, work, request_timeout=0.3)


@pytest.mark.parametrize(("era", "goes_on"), [(Era.LEGACY, True), (Era.MODERN, False)])
def test_a_client_that_leaves_its_stream_cancels_it_in_the_stateless_era_only(
    era: Era, goes_on: bool, tmp_path: Path
) -> None:
    async def work(scene: Scene) -> None:
        go, outcome = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def deed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(EVENTS + chunk(PROGRESS))
            reading = asyncio.ensure_future(reader.read(1))
            going = asyncio.ensure_future(go.wait())
            await asyncio.wait([reading, going], return_when=asyncio.FIRST_COMPLETED)
            outcome.set_result("goes on" if going.done() else "cut")
            writer.write(chunk(b"data: " + RESULT + b"\n\n") + b"0\r\n\r\n")
            for each in (reading, going):
                each.cancel()
            await asyncio.wait([reading, going])
            writer.close()
            raise ConnectionResetError

        scene.server.deed = deed
        client = Client()
        exchange = asyncio.ensure_future(scene.exchange(client, era))
        await client.heard.wait()
        client.leave()
        if goes_on:
            await asyncio.sleep(0.05)
            go.set()
        assert await outcome == ("goes on" if goes_on else "cut")
        await exchange
        await scene.nothing_is_left(client)
        assert b"result" not in b"".join(client.pieces)

    play(tmp_path, work)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_client_that_leaves_before_the_answer_begins_leaves_nothing(method: str, tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.server.deed = says(b"", ends=False)
        client = Client()
        exchange = asyncio.ensure_future(scene.exchange(client, Era.MODERN if method == "POST" else Era.LEGACY, method))
        while not scene.server.calls:  # noqa: ASYNC110 - the condition is of plain values
            await asyncio.sleep(0.005)
        client.leave()
        await exchange
        await scene.nothing_is_left(client)

    play(tmp_path, work)


def test_what_is_answered_in_turn_on_one_connection_takes_no_other(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        client, before = Client(), scene.server.made
        for _ in range(50):
            reply = await scene.exchange(client)
            assert reply is not None
            assert reply.status == 200
        assert scene.server.made - before <= 1
        await scene.nothing_is_left(client)

    play(tmp_path, work)


def test_a_server_that_closes_idle_connections_costs_no_call(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        client = Client()
        for _ in range(20):
            reply = await scene.exchange(client)
            assert reply is not None
            assert reply.status == 200
            for writer in list(scene.server.open):
                writer.close()
            await asyncio.sleep(0.01)
        assert scene.server.calls == 20
        await scene.nothing_is_left(client)

    play(tmp_path, work)


def test_an_exchange_that_is_cancelled_itself_leaves_nothing(tmp_path: Path) -> None:
    async def work(scene: Scene) -> None:
        scene.server.deed = says(EVENTS + chunk(PROGRESS), ends=False)
        client = Client()
        exchange = asyncio.ensure_future(scene.exchange(client))
        await client.heard.wait()
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        await scene.nothing_is_left(client)

    play(tmp_path, work)
