"""Programs that know nothing of proxies obey the rules by name."""

import asyncio
import socket

import pytest

from thv_core.spi import CallInFlight, Verdict, Way


def test_a_looked_up_name_is_reached_at_its_address_of_the_pool(world, run):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["example.test"] = ["127.0.0.1"]
            here.calls = (CallInFlight(method="tools/call", name="fetch", session="s1"),)
            here.open(f"example.test:{port}", f"127.0.0.1:{port}", ports=[port])
            code, addresses = await here.look_up("Example.TEST")
            assert (code, addresses) == (0, ["127.200.0.2"])
            assert here.looked_up == [], "a look-up leaves the machine only when something is connected"
            reader, writer = await here.connect(addresses[0], port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            (record,) = await here.recorded()
            assert (record.verdict, record.way, record.host, record.port) == (
                Verdict.ALLOWED,
                Way.NAME,
                "example.test",
                port,
            )
            assert (record.sent, record.received, record.address, record.via) == (5, 5, "127.0.0.1", "")
            assert record.rule == f"example.test:{port}"
            assert record.calls == here.calls
            assert (record.workload, record.incarnation, record.reason) == ("fetch", "fetch.1", "")
            assert record.seconds > 0

    run(scene())


def test_another_port_of_an_allowed_name_is_reset_and_recorded(world, run):
    async def scene():
        async with world() as here:
            port, other = await here.serve(), await here.serve()
            here.names["example.test"] = ["127.0.0.1"]
            here.open(f"example.test:{port}", "127.0.0.0/8", f"other.test:{other}", ports=[port, other])
            _, (address,) = await here.look_up("example.test")
            await here.is_reset(address, other)
            (record,) = await here.recorded()
            assert (record.verdict, record.port) == (Verdict.DENIED, other)
            assert f"port {port} only" in record.reason
            assert here.looked_up == []

    run(scene())


def test_an_address_of_the_pool_that_stands_for_no_name_is_reset_and_recorded(world, run):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.open(f"example.test:{port}", ports=[port])
            await here.is_reset("127.200.0.5", port)
            (record,) = await here.recorded()
            assert (record.verdict, record.host) == (Verdict.DENIED, "127.200.0.5")

    run(scene())


def test_any_host_does_not_include_an_address_of_the_pool_that_stands_for_no_name(world, run):
    async def scene():
        async with world(pool="127.200.0.0/16") as here:
            port = await here.serve()
            here.open(f"*:{port}", ports=[port])
            await here.is_reset("127.200.0.5", port)
            (record,) = await here.recorded()
            assert record.verdict is Verdict.DENIED

    run(scene())


def test_the_servers_own_loopback_is_no_way_out_and_not_recorded(world, run):
    async def scene():
        async with world(pool="127.201.0.0/16") as here:
            port = await here.serve()
            here.open(f"*:{port}", ports=[port])
            await here.is_reset("127.200.0.2", port)
            assert here.records() == []

    run(scene())


def test_a_name_that_resolves_to_a_private_address_is_reset_and_recorded(world, run):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["rebound.test"] = ["10.1.2.3", "::1"]
            here.open(f"*.test:{port}", ports=[port])
            _, (address,) = await here.look_up("rebound.test")
            await here.is_reset(address, port)
            (record,) = await here.recorded()
            assert (record.verdict, record.address, record.rule) == (Verdict.DENIED, "10.1.2.3", "")
            assert "private" in record.reason

    run(scene())


def test_a_host_that_refuses_is_recorded_as_failed(world, run):
    async def scene():
        async with world() as here:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                port = unused.getsockname()[1]
                here.names["example.test"] = ["127.0.0.1"]
                here.open(f"example.test:{port}", f"127.0.0.1:{port}", ports=[port])
                _, (address,) = await here.look_up("example.test")
                await here.is_reset(address, port)
            (record,) = await here.recorded()
            assert (record.verdict, record.address) == (Verdict.FAILED, "127.0.0.1")
            assert "refused" in record.reason

    run(scene())


def test_a_server_that_has_enough_connections_gets_no_more(world, run):
    async def scene():
        async with world(max_connections=2) as here:
            port = await here.serve()
            here.names["example.test"] = ["127.0.0.1"]
            here.open(f"example.test:{port}", f"127.0.0.1:{port}", ports=[port])
            _, (address,) = await here.look_up("example.test")
            held = [await here.connect(address, port) for _ in range(2)]
            for reader, writer in held:
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
            await here.is_reset(address, port)
            (record,) = await here.recorded()
            assert (record.verdict, record.host) == (Verdict.DENIED, "example.test")
            assert "too many connections" in record.reason
            for _, writer in held:
                writer.close()
            await here.recorded(3)
            reader, writer = await here.connect(address, port)
            writer.write(b"y")
            assert await reader.readexactly(1) == b"y"

    run(scene())


def test_closing_an_outlet_cuts_and_records_at_once(world, run):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["example.test"] = ["127.0.0.1"]
            opened = here.open(f"example.test:{port}", f"127.0.0.1:{port}", ports=[port])
            _, (address,) = await here.look_up("example.test")
            reader, writer = await here.connect(address, port)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            opened.close()
            (record,) = here.records()
            assert (record.verdict, record.sent, record.received) == (Verdict.ALLOWED, 5, 5)
            assert "closed" in record.reason
            with pytest.raises(ConnectionResetError):
                await reader.read()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(address, port)
            opened.close()
            assert len(here.records()) == 1

    run(scene())
