"""Bytes between a server and what it reached."""

import asyncio
import hashlib
import random
import socket
import time
from contextlib import asynccontextmanager

import pytest

from thv_core.spi import Verdict

SIZE = 20_000_000


@pytest.fixture
def between(world):
    """Opens an outlet to a host with a handler; yields the world, and the address and port to connect to."""

    @asynccontextmanager
    async def make(handler, **settings):
        async with world(**settings) as here:
            port = await here.serve(handler)
            here.names["host.test"] = ["127.0.0.1"]
            here.open(f"host.test:{port}", f"127.0.0.1:{port}", ports=[port])
            _, (address,) = await here.look_up("host.test")
            yield here, address, port

    return make


def test_many_megabytes_arrive_whole_in_both_directions_at_once(between, run):
    payload = random.Random(1).randbytes(SIZE)

    async def echo(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def send(writer):
        for at in range(0, SIZE, 100_000):
            writer.write(payload[at : at + 100_000])
            await writer.drain()
        writer.write_eof()

    async def scene():
        async with between(echo) as (here, address, port):
            reader, writer = await here.connect(address, port)
            sending = asyncio.ensure_future(send(writer))
            received = await reader.read()
            await sending
            assert hashlib.sha256(received).digest() == hashlib.sha256(payload).digest()
            writer.close()
            (record,) = await here.recorded()
            assert (record.sent, record.received) == (SIZE, SIZE)

    run(scene())


def test_an_end_in_one_direction_leaves_the_other_open(between, run):
    async def answer_afterwards(reader, writer):
        question = await reader.read()
        for _ in range(3):
            writer.write(question)
            await asyncio.sleep(0.02)
        writer.write_eof()

    async def scene():
        async with between(answer_afterwards) as (here, address, port):
            reader, writer = await here.connect(address, port)
            writer.write(b"question")
            writer.write_eof()
            assert await reader.read() == b"question" * 3
            (record,) = await here.recorded()
            assert (record.sent, record.received, record.reason) == (8, 24, "")

    run(scene())


def test_the_host_may_end_first_and_still_be_sent_to(between, run):
    received = bytearray()

    async def end_first(reader, writer):
        writer.write(b"bye")
        writer.write_eof()
        received.extend(await reader.read())

    async def scene():
        async with between(end_first) as (here, address, port):
            reader, writer = await here.connect(address, port)
            assert await reader.read() == b"bye"
            writer.write(b"late")
            writer.write_eof()
            await here.recorded()
            assert received == b"late"
            received.clear()

    run(scene())


def test_a_receiver_that_does_not_read_stops_the_sender_and_costs_little(between, run, wait):
    sent = 0

    async def flood(reader, writer):
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        while True:
            writer.write(bytes(100_000))
            await writer.drain()
            sent += 100_000

    async def stalled(wait):
        seen = [-1, 0.0]

        def still():
            if sent != seen[0]:
                seen[:] = sent, time.monotonic()
            return sent > 0 and time.monotonic() - seen[1] > 0.3

        await wait(still, "the sender stops")

    async def scene():
        nonlocal sent
        sent = 0
        async with between(flood) as (_, address, port):
            with socket.socket() as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                await asyncio.get_running_loop().sock_connect(client, (address, port))
                await stalled(wait)
                assert sent < 16_000_000, "the system's buffers and ours are all that fills"
                stopped = sent
                async with asyncio.timeout(20):
                    while sent < stopped + 5_000_000:
                        await asyncio.get_running_loop().sock_recv(client, 1 << 20)

    run(scene())


def test_a_reset_of_the_host_is_a_reset_for_the_server(between, run):
    async def reset(reader, writer):
        await reader.readexactly(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async def scene():
        async with between(reset) as (here, address, port):
            reader, writer = await here.connect(address, port)
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()
            (record,) = await here.recorded()
            assert record.verdict is Verdict.ALLOWED
            assert "broke" in record.reason

    run(scene())


def test_a_reset_of_the_server_reaches_the_host(between, run, wait):
    broken = []

    async def watch(reader, writer):
        writer.write(b"x")
        try:
            await reader.read()
        except ConnectionResetError:
            broken.append(1)

    async def scene():
        broken.clear()
        async with between(watch) as (here, address, port):
            with socket.socket() as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, (address, port))
                assert await loop.sock_recv(client, 1) == b"x"
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await here.recorded()
            await wait(lambda: bool(broken), "the host sees the reset")

    run(scene())


def test_a_silent_connection_is_cut_and_a_slow_one_is_not(between, run):
    async def drip(reader, writer):
        if await reader.readexactly(1) == b"s":
            await reader.read()
        for _ in range(20):
            writer.write(b".")
            await asyncio.sleep(0.1)
        writer.write_eof()
        await reader.read()

    async def scene():
        async with between(drip, idle_timeout=1.0) as (here, address, port):
            silent, silent_writer = await here.connect(address, port)
            silent_writer.write(b"s")
            slow, slow_writer = await here.connect(address, port)
            slow_writer.write(b"d")
            with pytest.raises(ConnectionResetError):
                await silent.read()
            assert await slow.read() == b"." * 20
            slow_writer.close()
            first, second = await here.recorded(2)
            assert "too long" in first.reason
            assert second.reason == ""

    run(scene())


def test_the_limit_of_bytes_cuts_and_then_denies(between, run):
    async def flood(reader, writer):
        while True:
            writer.write(bytes(100_000))
            await writer.drain()

    async def scene():
        async with between(flood, max_bytes="1MB") as (here, address, port):
            reader, _ = await here.connect(address, port)
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1 << 30)
            (record,) = await here.recorded()
            assert record.received <= 1_000_000
            assert "limit of bytes" in record.reason
            await here.is_reset(address, port)
            assert (await here.recorded(2))[1].verdict is Verdict.DENIED

    run(scene())


def test_a_hundred_connections_at_once_are_all_served(between, run):
    async def echo(reader, writer):
        writer.write(await reader.readexactly(6))

    async def ask(here, address, port, number):
        reader, writer = await here.connect(address, port)
        writer.write(b"%06d" % number)
        assert await reader.read() == b"%06d" % number
        writer.close()

    async def scene():
        async with between(echo) as (here, address, port):
            await asyncio.gather(*(ask(here, address, port, number) for number in range(100)))
            records = await here.recorded(100)
            assert {record.verdict for record in records} == {Verdict.ALLOWED}
            assert len(records) == 100

    run(scene())
