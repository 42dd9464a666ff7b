"""However a connection or an outlet ends, it is recorded once and nothing stays open."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from thv_core.errors import ThvError
from thv_core.spi import Verdict, Way


async def silent(reader, writer):
    await reader.read()


def test_closing_an_outlet_ends_what_is_still_being_connected(world, run):
    async def scene():
        async with world() as here:
            asked, hanging = asyncio.Event(), asyncio.Event()
            resolve = here.resolve

            async def slow(host):
                asked.set()
                await hanging.wait()
                return await resolve(host)

            here.egress._resolver._resolve = slow
            opened = here.open("slow.test:80")
            reader, _ = await here.through_proxy(b"CONNECT slow.test:80 HTTP/1.1\r\nHost: x\r\n\r\n")
            await asked.wait()
            opened.close()
            (record,) = here.records()
            assert (record.verdict, record.host) == (Verdict.FAILED, "slow.test")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            hanging.set()
            await asyncio.sleep(0)
            assert len(here.records()) == 1

    run(scene())


def test_closing_an_outlet_ends_a_plain_request_and_records_it(world, run, wait):
    async def scene():
        async with world() as here:
            port = await here.serve(silent)
            opened = here.open(f"127.0.0.1:{port}")
            request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            reader, _ = await here.through_proxy(request)
            await wait(lambda: bool(here.handling), "the host is reached")
            opened.close()
            (record,) = here.records()
            assert (record.verdict, record.way) == (Verdict.ALLOWED, Way.HTTP)
            assert "closed" in record.reason
            with pytest.raises(ConnectionResetError):
                await reader.read()

    run(scene())


def test_a_plain_request_beyond_the_limit_of_bytes_is_cut_and_said(world, run):
    async def large(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(90):
            writer.write(bytes(100_000))
            await writer.drain()

    async def scene():
        async with world(max_bytes="1MB") as here:
            port = await here.serve(large)
            here.open(f"127.0.0.1:{port}")
            request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            reader, _ = await here.through_proxy(request)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(9_000_000)
            (record,) = await here.recorded()
            assert "limit of bytes" in record.reason
            assert record.received <= 1_000_000
            reader, _ = await here.through_proxy(request)
            assert b" 403 " in await reader.readline()
            assert b"allow-network" not in await reader.read()

    run(scene())


def test_an_upload_beyond_the_limit_of_bytes_is_cut(world, run):
    async def scene():
        async with world(max_bytes="1MB") as here:
            port = await here.serve(silent)
            here.open(f"127.0.0.1:{port}")
            head = f"PUT http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n".encode()
            _, writer = await here.through_proxy(head)
            writer.write(bytes(2_000_000))
            (record,) = await here.recorded()
            assert "limit of bytes" in record.reason
            assert record.sent <= 1_000_000

    run(scene())


def test_a_client_that_leaves_during_its_answer_is_recorded(world, run):
    async def large(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    async def scene():
        async with world() as here:
            port = await here.serve(large)
            here.open(f"127.0.0.1:{port}")
            request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            reader, writer = await here.through_proxy(request)
            await reader.readexactly(1000)
            writer.transport.abort()
            (record,) = await here.recorded()
            assert record.verdict is Verdict.ALLOWED
            assert "server broke" in record.reason

    run(scene())


def test_a_client_that_left_before_its_tunnel_was_made_leaves_nothing_open(world, run, wait):
    async def scene():
        async with world() as here:
            asked, hanging = asyncio.Event(), asyncio.Event()
            port = await here.serve(silent)

            async def slow(host):
                asked.set()
                await hanging.wait()
                return ["127.0.0.1"]

            here.egress._resolver._resolve = slow
            here.open(f"slow.test:{port}", f"127.0.0.1:{port}")
            _, writer = await here.through_proxy(f"CONNECT slow.test:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asked.wait()
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            await asyncio.sleep(0.05)
            hanging.set()
            (record,) = await here.recorded()
            assert record.reason
            await wait(lambda: not here.handling, "the host is let go")

    run(scene())


def test_a_parent_proxy_that_is_not_there_is_a_failure(world, run):
    async def scene():
        async with world() as here:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                proxies = {"HTTPS_PROXY": f"http://127.0.0.1:{unused.getsockname()[1]}"}
                here.open("web.test", proxies=proxies)
                reader, _ = await here.through_proxy(b"CONNECT web.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 502 " in await reader.readline()
            (record,) = await here.recorded()
            assert record.verdict is Verdict.FAILED
            assert "parent proxy" in record.reason

    run(scene())


def test_a_name_that_cannot_be_written_down_is_not_answered(world, run):
    async def scene():
        async with world() as here:
            here.open("*.test")
            assert (await here.look_up("a.test"))[0] == 0
            names = here.state / "names"
            names.rename(here.state / "elsewhere")
            assert await here.look_up("b.test") == (2, [])
            (record,) = await here.recorded()
            assert (record.way, record.host, record.verdict) == (Way.DNS, "b.test", Verdict.DENIED)
            (here.state / "elsewhere").rename(names)
            assert (await here.look_up("b.test"))[0] == 0

    run(scene())


def test_names_that_cannot_be_kept_keep_the_outlet_closed(world, run, tmp_path):
    async def scene():
        async with world() as here:
            (tmp_path / "names").write_text("a file")
            with pytest.raises(ThvError, match="names"):
                here.open("a.test")
            (tmp_path / "names").unlink()

    run(scene())


def test_the_names_of_an_open_outlet_never_look_forgotten(world, run, tmp_path, monkeypatch, wait):
    monkeypatch.setattr("thv_egress.driver.FRESHENING", 0.05)

    async def scene():
        async with world() as here:
            here.open("a.test")
            await here.look_up("a.test")
            path = tmp_path / "names" / "fetch.1"
            os.utime(path, (1, 1))
            await wait(lambda: path.stat().st_mtime > 1, "it is marked as in use")

    run(scene())


def test_no_descriptor_is_left_behind(world, run, wait):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["host.test"] = ["127.0.0.1"]
            here.open(f"host.test:{port}", f"127.0.0.1:{port}", ports=[port])
            _, (address,) = await here.look_up("host.test")
            reader, writer = await here.connect(address, port)
            writer.close()
            await here.recorded()
            before = descriptors()
            for number in range(30):
                reader, writer = await here.connect(address, port)
                if number % 3:
                    writer.write(b"hello")
                    await reader.readexactly(5)
                writer.transport.abort() if number % 2 else writer.close()
            await here.recorded(31)
            for target in ("evil.test:1", "host.test:1", f"host.test:{port}"):
                reader, writer = await here.through_proxy(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await reader.readline()
                writer.close()
            await here.recorded(34)
            await wait(lambda: descriptors() <= before, f"as many as before, not {descriptors()} but {before}")

    run(scene())
