"""The HTTP proxy: tunnels and plain requests."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from thv_core.spi import Verdict, Way


async def response(reader, *, head=False):
    """Read one response; return its status, its headers in lower case, and its body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split()[1])
    if head or status < 200:
        return status, headers, b""
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return status, headers, body
    return status, headers, await reader.readexactly(int(headers["content-length"]))


@pytest.fixture
def web(world):
    """Opens an outlet to a plain HTTP host, which keeps the heads and bodies of its requests."""

    @asynccontextmanager
    async def make(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", **settings):
        seen = []

        async def handler(reader, writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            size = next(
                (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:")), 0
            )
            if callable(answer):
                seen.append(head)
                await answer(reader, writer)
                return
            seen.append((head, await reader.readexactly(size)))
            writer.write(answer)
            await writer.drain()

        async with world(**settings) as here:
            port = await here.serve(handler)
            here.names["host.test"] = ["127.0.0.1"]
            here.open(f"host.test:{port}", f"127.0.0.1:{port}")
            yield here, port, seen

    return make


async def ask(here, text, body=b""):
    reader, writer = await here.through_proxy(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    return reader, writer


def test_a_tunnel_carries_bytes_that_came_with_the_request(world, run):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["host.test"] = ["127.0.0.1"]
            here.open(f"host.test:{port}", f"127.0.0.1:{port}")
            reader, writer = await ask(here, f"CONNECT HOST.test:{port} HTTP/1.1\nHost: evil.test:1", b"early")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(5) == b"early"
            writer.write(b"late")
            assert await reader.readexactly(4) == b"late"
            writer.write_eof()
            assert await reader.read() == b""
            (record,) = await here.recorded()
            assert (record.way, record.verdict, record.host, record.port) == (
                Way.CONNECT,
                Verdict.ALLOWED,
                "host.test",
                port,
            )
            assert (record.sent, record.received) == (9, 9)

    run(scene())


@pytest.mark.parametrize("version", ["1.0\n", "1.1\nHost: x\nProxy-Connection: keep-alive"])
def test_old_and_new_clients_get_a_tunnel(world, run, version):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.open(f"127.0.0.1:{port}")
            reader, _ = await ask(here, f"CONNECT 127.0.0.1:{port} HTTP/{version}".rstrip())
            assert b" 200 " in await reader.readline()

    run(scene())


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("evil.test:443", Verdict.DENIED),
        ("host.test:22", Verdict.DENIED),
        ("127.0.0.1:443", Verdict.DENIED),
        ("169.254.169.254:80", Verdict.DENIED),
        ("[::1]:443", Verdict.DENIED),
        ("[::ffff:127.0.0.1]:443", Verdict.DENIED),
        ("8.8.8.8:443", Verdict.DENIED),
    ],
)
def test_a_denied_tunnel_is_403_with_the_reason_and_what_would_allow_it(world, run, target, verdict):
    async def scene():
        async with world() as here:
            here.open("host.test")
            reader, _ = await ask(here, f"CONNECT {target} HTTP/1.1\nHost: x")
            status, headers, body = await response(reader)
            assert status == 403
            assert headers["connection"] == "close"
            assert b"fetch" in body
            assert b"--allow-network" in body
            assert await reader.read() == b""
            (record,) = await here.recorded()
            assert record.verdict is verdict
            assert here.looked_up == []

    run(scene())


@pytest.mark.parametrize(
    "target", ["127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "[64:ff9b::a9fe:a9fe]:80", "100.64.0.1:80"]
)
def test_any_host_means_no_literal_that_is_not_public(world, run, target):
    async def scene():
        async with world() as here:
            here.open("*")
            reader, _ = await ask(here, f"CONNECT {target} HTTP/1.1\nHost: x")
            assert (await response(reader))[0] == 403

    run(scene())


@pytest.mark.parametrize(
    "request_text",
    [
        "GET / HTTP/1.1\nHost: host.test",
        "GET https://host.test/ HTTP/1.1\nHost: host.test",
        "GET ftp://host.test/ HTTP/1.1\nHost: host.test",
        "GET http://user:word@host.test/ HTTP/1.1\nHost: host.test",
        "GET http://host.test:0/ HTTP/1.1\nHost: host.test",
        "GET http://host.test:99999/ HTTP/1.1\nHost: host.test",
        "GET http:///x HTTP/1.1\nHost: host.test",
        "GET http://2130706433/ HTTP/1.1\nHost: host.test",
        "CONNECT host.test HTTP/1.1\nHost: host.test",
        "CONNECT host.test:x HTTP/1.1\nHost: host.test",
        "CONNECT :443 HTTP/1.1\nHost: host.test",
        "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\nHost: host.test",
        "GET http://host.test/ HTTP/1.1",
        "nonsense",
        "GET http://host.test/ HTTP/1.1\nHost: host.test\nContent-Length: 3\nContent-Length: 4",
        "GET http://host.test/ HTTP/1.1\nHost: host.test\nTransfer-Encoding: gzip, chunked",
        "GET http://host.test/ HTTP/1.1\nHost : host.test",
        "\x16\x03\x01\x02",
    ],
)
def test_what_is_no_request_for_a_proxy_is_refused_and_reaches_nobody(world, run, request_text):
    async def scene():
        async with world() as here:
            here.open("*")
            reader, _ = await ask(here, request_text)
            assert (await response(reader))[0] in (400, 501, 505)
            assert here.looked_up == []

    run(scene())


def test_a_head_without_end_is_refused(world, run):
    async def scene():
        async with world() as here:
            here.open("*")
            reader, _ = await here.through_proxy(b"GET http://host.test/ HTTP/1.1\r\nX: " + b"a" * 200_000)
            assert (await response(reader))[0] == 431

    run(scene())


def test_a_client_that_dawdles_over_its_head_is_dropped(world, run, monkeypatch):
    monkeypatch.setattr("thv_egress.proxy.HEAD_TIMEOUT", 0.2)

    async def scene():
        async with world() as here:
            here.open("*")
            reader, _ = await here.through_proxy(b"CONNECT ")
            assert await reader.read() == b""

    run(scene())


def test_a_plain_request_is_passed_on_for_the_host_that_was_decided_about(web, run):
    async def scene():
        async with web() as (here, port, seen):
            reader, _ = await ask(
                here,
                f"GET http://Host.TEST:{port}/a?b=c HTTP/1.1\nHost: evil.test\nX-Own: 1\nConnection: x-hop, close\n"
                "X-Hop: 1\nProxy-Authorization: Basic c2VjcmV0\nProxy-Connection: keep-alive\nTE: trailers"
                "\nUpgrade: h2c",
            )
            assert (await response(reader))[::2] == (200, b"ok")
            ((head, _),) = seen
            assert head.split("\r\n")[:-2] == [
                "GET /a?b=c HTTP/1.1",
                f"Host: host.test:{port}",
                "X-Own: 1",
                "Connection: close",
            ]
            (record,) = await here.recorded()
            assert (record.way, record.verdict, record.host) == (Way.HTTP, Verdict.ALLOWED, "host.test")
            assert record.sent == len(head)
            assert record.received > 2

    run(scene())


def test_one_connection_carries_several_plain_requests_each_recorded(web, run):
    async def scene():
        async with web() as (here, port, seen):
            text = f"POST http://host.test:{port} HTTP/1.1\nHost: x\nContent-Length: 3"
            reader, writer = await ask(here, text, b"abc")
            for _ in range(3):
                assert (await response(reader))[::2] == (200, b"ok")
                writer.write(text.replace("\n", "\r\n").encode() + b"\r\n\r\nabc")
            assert (await response(reader))[0] == 200
            assert [body for _, body in seen] == [b"abc"] * 4
            assert seen[0][0].startswith("POST / HTTP/1.1")
            assert len(await here.recorded(4)) == 4

    run(scene())


def test_requests_that_come_together_are_answered_in_turn(web, run):
    async def scene():
        async with web() as (here, port, _):
            text = f"GET http://host.test:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            denied = b"GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n"
            reader, _ = await here.through_proxy(text + text + denied + text)
            assert [(await response(reader))[0] for _ in range(3)] == [200, 200, 403]
            assert await reader.read() == b""

    run(scene())


def test_a_chunked_body_goes_up_and_a_chunked_answer_comes_down(web, run):
    async def answer(reader, writer):
        chunks = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(chunks), chunks))
        await writer.drain()

    async def scene():
        async with web(answer) as (here, port, seen):
            reader, _ = await ask(
                here,
                f"PUT http://host.test:{port}/ HTTP/1.1\nHost: x\nTransfer-Encoding: chunked",
                b"5\r\nhello\r\n0\r\n\r\n",
            )
            assert (await response(reader))[::2] == (200, b"5\r\nhello\r\n0\r\n\r\n")
            assert "Transfer-Encoding: chunked" in seen[0]

    run(scene())


def test_of_two_lengths_one_is_passed_on(web, run):
    async def answer(reader, writer):
        body = await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()

    async def scene():
        async with web(answer) as (here, port, seen):
            two = "Content-Length: 4\nTransfer-Encoding: chunked"
            text = f"POST http://host.test:{port}/ HTTP/1.1\nHost: x\n{two}"
            reader, _ = await ask(here, text, b"1c\r\nGET http://evil.test/ HTTP/1\r\n0\r\n\r\n")
            assert (await response(reader))[0] == 200
            assert "transfer-encoding: chunked" in seen[0].lower()
            assert "content-length" not in seen[0].lower()

    run(scene())


def test_a_client_that_waits_for_100_gets_it_from_the_host(web, run):
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
        await writer.drain()

    async def scene():
        async with web(answer) as (here, port, seen):
            reader, writer = await ask(
                here, f"PUT http://host.test:{port}/ HTTP/1.1\nHost: x\nContent-Length: 4\nExpect: 100-continue"
            )
            assert (await response(reader))[0] == 100
            writer.write(b"body")
            assert (await response(reader))[::2] == (200, b"body")
            assert "Expect: 100-continue" in seen[0]

    run(scene())


def test_an_answer_that_ends_with_its_connection_arrives_whole(web, run):
    async def scene():
        async with web(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 300_000) as (here, port, _):
            reader, _ = await ask(here, f"GET http://host.test:{port}/ HTTP/1.1\nHost: x")
            assert (await response(reader))[2] == b"x" * 300_000
            reader, _ = await ask(here, f"GET http://host.test:{port}/ HTTP/1.0")
            assert (await reader.read()).endswith(b"x" * 300_000)

    run(scene())


def test_an_answer_to_head_has_no_body(web, run):
    async def scene():
        async with web(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n") as (here, port, _):
            reader, _ = await ask(here, f"HEAD http://host.test:{port}/ HTTP/1.1\nHost: x")
            status, headers, _ = await response(reader, head=True)
            assert (status, headers["content-length"]) == (200, "1000")

    run(scene())


def test_an_early_answer_to_a_large_upload_is_read(web, run):
    async def answer(reader, writer):
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()

    async def scene():
        async with web(answer) as (here, port, _):
            reader, writer = await ask(
                here, f"PUT http://host.test:{port}/ HTTP/1.1\nHost: x\nContent-Length: 9000000", b"x" * 100_000
            )
            assert (await response(reader))[::2] == (413, b"big")
            writer.close()

    run(scene())


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"]
)
def test_a_host_that_does_not_speak_http_is_502(web, run, answer):
    async def scene():
        async with web(answer) as (here, port, _):
            reader, _ = await ask(here, f"GET http://host.test:{port}/ HTTP/1.1\nHost: x")
            assert (await response(reader))[0] == 502
            (record,) = await here.recorded()
            assert record.reason

    run(scene())


def test_an_answer_that_breaks_off_is_not_taken_for_complete(web, run):
    async def scene():
        async with web(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as (here, port, _):
            reader, _ = await ask(here, f"GET http://host.test:{port}/ HTTP/1.1\nHost: x")
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await response(reader)

    run(scene())


def test_a_body_that_breaks_off_ends_the_request_at_the_host(web, run, wait):
    ended = []

    async def answer(reader, writer):
        ended.append(await reader.read())

    async def scene():
        ended.clear()
        async with web(answer) as (here, port, _):
            _, writer = await ask(here, f"PUT http://host.test:{port}/ HTTP/1.1\nHost: x\nContent-Length: 100", b"half")
            await wait(lambda: bool(here.handling), "the host has the request")
            writer.write_eof()
            (record,) = await here.recorded()
            assert "broke off" in record.reason

    run(scene())


def test_a_silent_host_is_cut_after_the_idle_time(web, run):
    async def answer(reader, writer):
        await reader.read()

    async def scene():
        async with web(answer, idle_timeout=1.0) as (here, port, _):
            reader, _ = await ask(here, f"GET http://host.test:{port}/ HTTP/1.1\nHost: x")
            assert await reader.read() == b""
            (record,) = await here.recorded()
            assert "too long" in record.reason

    run(scene())


def test_connections_of_the_proxy_are_bounded_too(world, run):
    async def scene():
        async with world(max_connections=3) as here:
            here.open("*")
            for _ in range(3):
                await here.through_proxy(b"")
            await here.is_reset("127.0.0.1", here.proxy_port)
            (record,) = await here.recorded()
            assert (record.verdict, record.host, record.way) == (Verdict.DENIED, "*", Way.CONNECT)

    run(scene())
