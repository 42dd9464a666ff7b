"""The connection to the gateway, over a real Unix socket that the test serves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_core.state.files import bind_unix
from thv_core.state.paths import Paths
from thv_supervisor.control import gateway_link
from thv_supervisor.control.gateway_link import RENEWAL_FILE, GatewayLink

LIMIT = 20.0
REPORT = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.READY, tools=("a",))


def route(workload: str, incarnation: str = "") -> Route:
    return Route(
        workload=workload, incarnation=incarnation or f"{workload}.1", port=1, stdin="i", stdout="o", lock="l", log="g"
    )


class Connection:
    """One connection as the gateway sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def order(self) -> str:
        line = await asyncio.wait_for(self.reader.readline(), LIMIT)
        return str(json.loads(line)["order"])

    async def say(self, line: bytes) -> None:
        self.writer.write(line + b"\n")
        await self.writer.drain()


class Listening:
    """A gateway that a test plays."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Connection] = asyncio.Queue()

    async def connection(self) -> Connection:
        return await asyncio.wait_for(self.arrived.get(), LIMIT)


@asynccontextmanager
async def gateway(paths: Paths) -> AsyncGenerator[Listening]:
    """Serve the socket; at the end every connection is cut, as by a kill."""
    listening = Listening()
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        listening.arrived.put_nowait(Connection(reader, writer))

    server = await asyncio.start_unix_server(accept, sock=bind_unix(paths.gateway / GATEWAY_SOCKET))
    try:
        yield listening
    finally:
        server.close()
        for writer in writers:
            writer.close()


@pytest.fixture
def play(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Play a story with a link that follows."""
    monkeypatch.setattr(gateway_link, "SLOWEST", 0.02)

    def played(story: Callable[[GatewayLink, list[str]], Awaitable[None]], renew: bool = False) -> None:
        async def once() -> None:
            changed: list[str] = []
            link = GatewayLink(paths, changed.append)
            following = asyncio.create_task(link.follow(renew))
            try:
                await asyncio.wait_for(story(link, changed), LIMIT * 2)
                assert not following.done()
            finally:
                while not following.done():
                    following.cancel()
                    await asyncio.wait({following}, timeout=0.1)

        asyncio.run(once())

    return played


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.01)


def stored(paths: Paths) -> list[str]:
    file = paths.gateway / ROUTES_FILE
    return [each.incarnation for each in decode_document(file.read_bytes(), RouteSnapshot, "routes").routes]


def test_each_publication_is_on_disk_before_the_gateway_is_told(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await connection.order() == "reload"
            await link.publish("b", route("b"))
            assert stored(paths) == ["b.1"]
            assert await connection.order() == "reload"
            await link.publish("a", route("a"))
            assert await connection.order() == "reload"
            assert stored(paths) == ["a.1", "b.1"]
            await link.publish("b", None)
            assert await connection.order() == "reload"
            assert stored(paths) == ["a.1"]
            assert (link.route("a"), link.route("b")) == (route("a"), None)

    play(story)
    assert (paths.gateway / ROUTES_FILE).stat().st_mode & 0o777 == 0o600


def test_the_snapshot_is_complete_at_the_moment_of_the_order(paths: Paths) -> None:
    seen: list[list[str]] = []

    class Watching:
        def write(self, data: bytes) -> None:
            seen.append(stored(paths))

        def is_closing(self) -> bool:
            return False

        async def drain(self) -> None:
            """Be done at once."""

    link = GatewayLink(paths, lambda workload: None)
    link._writer = Watching()
    asyncio.run(link.publish("a", route("a")))
    assert seen == [["a.1"]]


def test_what_is_published_already_is_not_said_again(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await connection.order() == "reload"
            await link.publish("a", None)
            await link.publish("a", route("a"))
            await link.publish("a", route("a"))
            await link.publish("a", route("a", "a.2"))
            assert [await connection.order(), await connection.order()] == ["reload", "reload"]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.reader.readline(), 0.1)

    play(story)


def test_without_a_gateway_a_publication_waits_on_disk(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        await link.publish("a", route("a"))
        assert stored(paths) == ["a.1"]
        async with gateway(paths) as listening:
            assert await (await listening.connection()).order() == "reload"

    play(story)


def test_a_later_link_knows_the_routes_of_the_snapshot(paths: Paths) -> None:
    (paths.gateway / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route("a"),))))
    link = GatewayLink(paths, lambda workload: None)
    assert link.route("a") == route("a")
    assert link.report("a.1") is None


def test_a_snapshot_that_is_damaged_is_named_and_written_anew(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    (paths.gateway / ROUTES_FILE).write_bytes(b"{")
    link = GatewayLink(paths, lambda workload: None)
    assert "routes.json" in caplog.text
    assert link.routed() == []
    asyncio.run(link.publish("a", route("a")))
    assert stored(paths) == ["a.1"]


def test_a_publication_that_could_not_be_written_is_made_again(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    link = GatewayLink(paths, lambda workload: None)

    def full(path: object, data: bytes) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(gateway_link, "write_atomically", full)
        with pytest.raises(OSError, match="no space"):
            asyncio.run(link.publish("a", route("a")))
    assert (link.route("a"), link.routed()) == (None, [])
    asyncio.run(link.publish("a", route("a")))
    assert (stored(paths), link.routed()) == (["a.1"], ["a"])


def test_reports_are_heard_and_the_last_one_counts(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            await link.publish("echo", route("echo"))
            connection = await listening.connection()
            starting = RouteReport(workload="echo", incarnation="echo.1", state=RouteState.STARTING)
            await connection.say(encode_document(starting) + b"\n" + encode_document(REPORT))
            await until(lambda: len(changed) == 2)
            assert link.report("echo.1") == REPORT
            assert changed == ["echo", "echo"]

    play(story)


def test_a_gateway_that_comes_back_is_found_and_told_to_read(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        await link.publish("echo", route("echo"))
        for turn in range(3):
            async with gateway(paths) as listening:
                connection = await listening.connection()
                assert await connection.order() == "reload"
                await connection.say(encode_document(REPORT))
                await until(lambda turn=turn: len(changed) == turn + 1)
            await link.publish("a", route("a", f"a.{turn}"))
            assert stored(paths) == [f"a.{turn}", "echo.1"]

    play(story)


def test_only_the_first_gateway_is_asked_to_finish(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        orders: list[str] = []
        for _ in range(2):
            async with gateway(paths) as listening:
                orders.append(await (await listening.connection()).order())
        assert orders == ["drain", "reload"]
        assert not (paths.gateway / RENEWAL_FILE).exists()

    play(story, renew=True)


def test_a_renewal_that_control_did_not_live_to_order_is_ordered_by_the_next(play: Any, paths: Paths) -> None:
    async def killed(link: GatewayLink, changed: list[str]) -> None:
        await until((paths.gateway / RENEWAL_FILE).exists)

    async def following(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await connection.order() == "drain"
            await until(lambda: not (paths.gateway / RENEWAL_FILE).exists())

    play(killed, renew=True)
    play(following)


UNREADABLE = [b"nonsense", b"{}", b'{"workload": "echo", "unknown": 1}', b"x" * (gateway_link.LINE_LIMIT + 10)]


@pytest.mark.parametrize("line", UNREADABLE, ids=["not json", "incomplete", "unknown key", "too long"])
def test_an_unreadable_report_is_logged_and_the_next_connection_works(
    play: Any, paths: Paths, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        await link.publish("echo", route("echo"))
        async with gateway(paths) as listening:
            first = await listening.connection()
            first.writer.write(line + b"\n")
            second = await listening.connection()
            await second.say(encode_document(REPORT))
            await until(lambda: link.report("echo.1") == REPORT)

    play(story)
    assert "unreadable report" in caplog.text


def test_only_what_the_snapshot_names_is_remembered(play: Any, paths: Paths) -> None:
    def said(generation: int, **more: Any) -> bytes:
        return encode_document(
            RouteReport(workload="echo", incarnation=f"echo.{generation}", state=RouteState.READY, **more)
        )

    async def story(link: GatewayLink, changed: list[str]) -> None:
        changing = replace(route("echo"), candidate=route("echo", "echo.2"), retiring=("echo.0",))
        await link.publish("echo", changing)
        async with gateway(paths) as listening:
            connection = await listening.connection()
            for generation in (7, 0, 1, 2):
                await connection.say(said(generation))
            await until(lambda: len(changed) == 3)
            assert set(link.reports("echo")) == {"echo.0", "echo.1", "echo.2"}
            await link.publish("echo", replace(route("echo", "echo.2"), retiring=("echo.1",)))
            assert set(link.reports("echo")) == {"echo.1", "echo.2"}
            await link.publish("echo", None)
            assert link.reports("echo") == {}

    play(story)


def test_that_it_was_quiet_in_a_former_hold_counts_in_no_later_one(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        held = replace(route("echo"), hold=True)
        await link.publish("echo", held)
        async with gateway(paths) as listening:
            connection = await listening.connection()
            await connection.say(encode_document(replace(REPORT, quiet=True)))
            await until(lambda: link.reports("echo"))
            await link.publish("echo", replace(held, candidate=route("echo", "echo.2")))
            assert link.reports("echo")["echo.1"].quiet
            await link.publish("echo", route("echo"))
            await link.publish("echo", held)
            assert link.report("echo.1") == REPORT
            await link.publish("echo", route("echo"))
            await connection.say(encode_document(replace(REPORT, quiet=True, tools=("late",))))
            await until(lambda: link.reports("echo")["echo.1"].tools == ("late",))
            await link.publish("echo", held)
            assert not link.reports("echo")["echo.1"].quiet

    play(story)


def outlets(paths: Paths) -> tuple[str, ...]:
    file = paths.gateway / ROUTES_FILE
    return decode_document(file.read_bytes(), RouteSnapshot, "routes").outlets


def test_outlets_are_on_disk_before_the_gateway_is_told_and_beside_the_routes(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await connection.order() == "reload"
            await link.publish("a.b", route("a.b"))
            assert await connection.order() == "reload"
            await link.connect("a.b", ["a.b.2", "a.b.1"])
            assert await connection.order() == "reload"
            await link.connect("a", ["a.7"])
            assert (outlets(paths), stored(paths)) == (("a.7", "a.b.1", "a.b.2"), ["a.b.1"])
            assert link.connected() == {"a", "a.b"}
            await link.connect("a.b", ["a.b.2"])
            await link.publish("a.b", None)
            assert (outlets(paths), stored(paths)) == (("a.7", "a.b.2"), [])

    play(story)


def test_outlets_that_are_there_already_are_not_said_again(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await connection.order() == "reload"
            await link.connect("a", ())
            await link.connect("a", ["a.1"])
            await link.connect("a", {"a.1"})
            assert await connection.order() == "reload"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.reader.readline(), 0.1)

    play(story)


def test_a_later_link_knows_the_outlets_of_the_snapshot(paths: Paths) -> None:
    (paths.gateway / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(outlets=("a.3",))))
    link = GatewayLink(paths, lambda workload: None)
    assert link.connected() == {"a"}
    asyncio.run(link.connect("b", ["b.1"]))
    assert outlets(paths) == ("a.3", "b.1")


# Values of secrets ---------------------------------------------------------------------------------------------------


async def command(connection: Connection) -> tuple[str, dict[str, str]]:
    line = await asyncio.wait_for(connection.reader.readline(), LIMIT)
    said = json.loads(line)
    return said["order"], said["values"]


def test_values_go_to_the_memory_of_the_gateway_at_each_change_and_on_each_connection(play: Any, paths: Paths) -> None:
    async def story(link: GatewayLink, changed: list[str]) -> None:
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert await command(connection) == ("reload", {})
            await link.give("a", {"token": "v4lue"})
            await link.give("a", {"token": "v4lue"})
            await link.give("b", {"key": "k3y"})
            await link.give("b", {})
            await link.publish("a", route("a"))
            assert [await command(connection) for _ in range(4)] == [
                ("values", {"token": "v4lue"}),
                ("values", {"token": "v4lue", "key": "k3y"}),
                ("values", {"token": "v4lue"}),
                ("reload", {}),
            ]
        (paths.gateway / GATEWAY_SOCKET).unlink()
        async with gateway(paths) as listening:
            connection = await listening.connection()
            assert [await command(connection) for _ in range(2)] == [("values", {"token": "v4lue"}), ("reload", {})]
        assert b"v4lue" not in (paths.gateway / ROUTES_FILE).read_bytes()

    play(story)


def test_what_concerns_the_gateway_as_a_whole_is_in_each_snapshot(paths: Paths) -> None:
    link = GatewayLink(paths, lambda workload: None, RouteSnapshot(shared_port=19000))
    asyncio.run(link.publish("a", route("a")))
    found = decode_document((paths.gateway / ROUTES_FILE).read_bytes(), RouteSnapshot, "routes")
    assert (found.shared_port, len(found.routes)) == (19000, 1)


def test_a_snapshot_with_other_settings_is_written_anew_at_once(paths: Paths) -> None:
    (paths.gateway / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route("a"),))))

    async def story() -> None:
        link = GatewayLink(paths, lambda workload: None, RouteSnapshot(shared_port=19000))
        following = asyncio.create_task(link.follow(renew=False))
        await until(lambda: b'"shared_port":19000' in (paths.gateway / ROUTES_FILE).read_bytes())
        following.cancel()
        await asyncio.wait({following})
        assert stored(paths) == ["a.1"]

    asyncio.run(story())
