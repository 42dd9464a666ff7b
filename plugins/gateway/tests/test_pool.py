"""Connections out of sockets that somebody else made: kept, evicted, connected anew."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from thv_gateway.client import pool as pool_module
from thv_gateway.client.connection import Broken, Connection
from thv_gateway.client.connectors import Connectors
from thv_gateway.client.http_client import HttpClient, Place
from thv_gateway.client.pool import Busy, Pool

TRAILER = "answered with a trailer that is too long"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers each request with ``answer``; counts connections and requests."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.closes = False
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.answering: Callable[[], Awaitable[None]] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if self.answering is not None:
                    await self.answering()
                writer.write(self.answer)
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class Carrier:
    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.fault = ""


def run(work: Callable[[Server, Pool, HttpClient], Awaitable[None]], connectors: int = 2) -> None:
    async def served() -> None:
        server = Server()
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        pool = Pool(Connectors([socket.socket() for _ in range(connectors)]))
        try:
            await work(server, pool, HttpClient(pool, Place.inside(port)))
        finally:
            pool.close()
            listener.close()
            for writer in server.writers:
                writer.close()
            await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(served())


async def asked(client: HttpClient, *, again: bool = False) -> bytes:
    carrier = Carrier()
    try:
        connection, _ = await client.ask(carrier, client.request(b"GET", ()), again=again)
        return await connection.body(1000)
    finally:
        client.release(carrier)


def test_a_connection_is_used_again() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        assert [await asked(client) for _ in range(5)] == [b"ok"] * 5
        assert (len(server.writers), len(server.requests)) == (1, 5)

    run(work)


def test_a_connector_is_connected_as_often_as_it_takes() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        server.closes = True
        assert [await asked(client) for _ in range(20)] == [b"ok"] * 20
        assert len(server.writers) == 20

    run(work, connectors=1)


def test_a_connector_that_was_refused_can_be_connected_later() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await pool.lease(port)
            assert not await HttpClient(pool, Place.inside(port)).accepts()
        assert await asked(client) == b"ok"

    run(work, connectors=1)


def test_an_idle_connection_that_the_server_closed_is_evicted() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        losses: list[None] = []
        pool.on_loss = lambda: losses.append(None)
        assert await asked(client) == b"ok"
        server.writers[0].close()
        await server.writers[0].wait_closed()
        assert await asked(client) == b"ok"
        assert len(server.writers) == 2

    run(work, connectors=1)


@pytest.mark.parametrize(("again", "requests"), [(True, 3), (False, 2)])
def test_what_met_a_closing_connection_is_sent_again_only_when_it_may(again: bool, requests: int) -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        assert await asked(client) == b"ok"

        async def hang_up() -> None:
            server.answering = None
            server.writers[0].transport.abort()

        server.answering = hang_up
        if again:
            assert await asked(client, again=True) == b"ok"
        else:
            with pytest.raises(Broken, match="closed the connection"):
                await asked(client)
        assert len(server.requests) == requests

    run(work)


def test_a_fresh_connection_that_is_closed_is_not_tried_again() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        server.answer, server.closes = b"", True
        with pytest.raises(Broken):
            await asked(client, again=True)
        assert len(server.requests) == 1

    run(work)


def test_who_finds_every_connection_taken_waits_and_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WAIT_SECONDS", 0.05)

    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        go = asyncio.Event()

        async def wait() -> None:
            await go.wait()

        server.answering = wait
        first = asyncio.create_task(asked(client))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await asked(client)
        second = asyncio.create_task(asked(client))
        go.set()
        assert [await first, await second] == [b"ok", b"ok"]

    run(work, connectors=1)


def test_idle_connections_are_closed_before_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.05)

    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        losses: list[None] = []
        pool.on_loss = lambda: losses.append(None)
        await asked(client)
        async with asyncio.timeout(5):
            # Without an error: the connection was not reset.
            await server.writers[0].wait_closed()
        assert losses == []
        assert await asked(client) == b"ok"

    run(work)


def test_a_fresh_lease_takes_the_place_of_an_idle_connection() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        await asked(client)
        assert await client.accepts()
        assert len(server.writers) == 2

    run(work, connectors=1)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
        (ANSWER + ANSWER, b"ok"),
    ],
    ids=["interim", "no-content", "chunked", "until-the-end", "twice"],
)
def test_answers_are_framed(answer: bytes, body: bytes) -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        server.answer = answer
        server.closes = answer.startswith(b"HTTP/1.0")
        assert await asked(client) == body
        server.answer, server.closes = ANSWER, False
        assert await asked(client) == b"ok"

    run(work)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0\r\n\r\n", "answered with what is not HTTP"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "answered with what is not HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000, "answered with a head that is too long"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + b"x: y\r\n" * 200_000, TRAILER),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"x" * 1_000_000, TRAILER),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000, "answered with more than 1000 bytes"),
    ],
    ids=["not-http", "upgrade", "long-head", "long-trailer", "long-trailer-field", "cut", "long-body"],
)
def test_answers_that_are_none_are_broken(answer: bytes, reason: str) -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        server.answer, server.closes = answer, True
        with pytest.raises(Broken) as caught:
            await asked(client)
        assert str(caught.value) == reason
        server.answer, server.closes = ANSWER, False
        assert await asked(client) == b"ok"

    run(work)


def test_a_body_that_nobody_reads_is_not_read_from_the_server_either() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        size = 64 << 20
        server.answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
        carrier = Carrier()
        connection, _ = await client.ask(carrier, client.request(b"GET", ()), again=False)
        await asyncio.sleep(0.2)
        assert connection._waiting < 1 << 20
        read = 0
        while data := await connection.read():
            read += len(data)
        assert read == size
        client.release(carrier)

    run(work)


def test_a_pool_that_is_closed_leaves_nothing_open() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        carrier: Any = Carrier()
        await client.ask(carrier, client.request(b"GET", ()), again=False)
        await asked(client)
        pool.close()
        client.release(carrier)
        await asyncio.sleep(0.01)
        with pytest.raises(Busy):
            await pool.lease(1)

    run(work)


def test_whether_a_server_accepts_is_found_out_without_a_reset() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        assert await client.accepts()
        async with asyncio.timeout(5):
            while not server.writers:  # noqa: ASYNC110 - the condition is of plain values
                await asyncio.sleep(0.001)
            await server.writers[0].wait_closed()
        assert await asked(client) == b"ok"

    run(work)


def test_a_trailer_says_nothing_of_the_head() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        server.answer = head + b"0\r\ncontent-type: text/html\r\nmcp-session-id: x\r\n\r\n"
        carrier = Carrier()
        connection, found = await client.ask(carrier, client.request(b"GET", ()), again=False)
        assert await connection.body(10) == b""
        assert found.fields == {b"content-type": b"text/plain", b"transfer-encoding": b"chunked"}
        client.release(carrier)

    run(work)


def test_what_a_server_did_not_read_is_no_request_of_its_next_client() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        go = asyncio.Event()

        async def hold_what_was_smuggled() -> None:
            if len(server.writers) == 1 and len(server.requests) > 1:
                await go.wait()

        server.answering = hold_what_was_smuggled
        carrier = Carrier()
        smuggled = b"GET /mcp HTTP/1.1\r\nmcp-session-id: of-another\r\n\r\n" * 500_000
        connection, _ = await client.ask(carrier, client.request(b"POST", (), smuggled), again=False)
        assert await connection.body(10) == b"ok"
        client.release(carrier)
        async with asyncio.timeout(5):
            assert await asked(client) == b"ok"
        assert len(server.writers) == 2
        go.set()

    run(work)


def test_who_waits_for_a_connection_of_a_pool_that_is_closed_is_told() -> None:
    async def work(server: Server, pool: Pool, client: HttpClient) -> None:
        await asked(client)
        waiting = asyncio.create_task(pool.lease(1, fresh=True))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(Busy):
            async with asyncio.timeout(5):
                await waiting

    run(work, connectors=1)
