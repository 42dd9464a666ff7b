"""The name server inside a namespace."""

import asyncio
import struct

import pytest

from thv_core.spi import CallInFlight, Verdict, Way

A, PTR, AAAA, SVCB, HTTPS, ANY, TXT = 1, 12, 28, 64, 65, 255, 16


def test_other_kinds_of_an_allowed_name_are_empty_not_missing(world, run):
    async def scene():
        async with world() as here:
            here.open("api.test")
            for kind in (AAAA, SVCB, HTTPS, TXT):
                assert await here.look_up("api.test", kind) == (0, [])
            assert await here.look_up("api.test", ANY) == await here.look_up("api.test", A) == (0, ["127.200.0.2"])
            assert here.looked_up == []

    run(scene())


def test_a_denied_name_does_not_exist_and_is_recorded_once_with_its_calls(world, run):
    async def scene():
        async with world() as here:
            here.calls = (CallInFlight(method="tools/call", name="fetch"),)
            here.open("api.test", ".sub.test")
            for kind in (A, AAAA, HTTPS):
                assert await here.look_up("Evil.test", kind) == (3, [])
            (record,) = await here.recorded()
            assert (record.way, record.verdict, record.host, record.port) == (Way.DNS, Verdict.DENIED, "evil.test", 0)
            assert record.times == 3
            assert record.calls == here.calls
            assert record.reason
            assert here.looked_up == []

    run(scene())


def test_many_equal_lookups_are_one_record_when_the_outlet_closes(world, run):
    async def scene():
        async with world() as here:
            opened = here.open("api.test")
            for _ in range(50):
                await here.look_up("evil.test")
            opened.close()
            assert sum(record.times for record in here.records()) == 50
            assert len(here.records()) <= 2

    run(scene())


@pytest.mark.parametrize("name", ["1.1.1.1", "169.254.169.254", "2130706433", "0x7f.1", "a_b..test", "x" * 63 + ".1"])
def test_an_address_is_not_a_name_even_when_any_name_is_allowed(world, run, name):
    async def scene():
        async with world() as here:
            here.open("*", "169.254.169.254")
            assert (await here.look_up(name))[0] == (0 if ".." in name else 3)

    run(scene())


def test_what_a_terminal_would_obey_is_not_in_the_record(world, run, dns_packets):
    async def scene():
        async with world() as here:
            opened = here.open("a.test")
            assert (await here.asked(dns_packets.query("\x1b[31m\n\0.test")))[3] & 15 == 3
            assert (await here.asked(dns_packets.query("\xff.test")))[3] & 15 == 3
            opened.close()
            assert [record.host for record in here.records()] == ["??31m??.test", "?"]

    run(scene())


def test_addresses_are_not_looked_up_backwards_and_that_is_no_attempt(world, run):
    async def scene():
        async with world() as here:
            opened = here.open("*")
            assert await here.look_up("2.0.254.11.in-addr.arpa", PTR) == (3, [])
            assert await here.look_up("1.0.0.0.ip6.arpa", PTR) == (3, [])
            opened.close()
            assert here.records() == []

    run(scene())


def test_too_many_names_are_refused_and_recorded(world, run):
    async def scene():
        async with world(pool="127.200.0.0/28") as here:
            here.open("*")
            answers = [await here.look_up(f"n{number}.test") for number in range(14)]
            assert [code for code, _ in answers] == [0] * 13 + [5]
            (record,) = await here.recorded()
            assert (record.host, record.verdict) == ("n13.test", Verdict.DENIED)
            assert await here.look_up("n0.test") == answers[0]

    run(scene())


def test_malformed_and_odd_packets_do_no_harm(world, run, dns_packets):
    async def scene():
        async with world() as here:
            here.open("api.test")
            assert await here.asked(b"") == b""
            assert await here.asked(b"\0" * 5) == b""
            assert (await here.asked(b"\1\2" + b"\0" * 10))[3] & 15 == 1
            assert (await here.asked(dns_packets.query("api.test", group=3)))[3] & 15 == 4
            status = bytearray(dns_packets.query("api.test"))
            status[2] |= 0x10
            assert (await here.asked(bytes(status)))[3] & 15 == 4
            assert await here.asked(b"\xff" * 4000) == b""
            assert await here.look_up("api.test") == (0, ["127.200.0.2"])

    run(scene())


def test_queries_over_tcp_may_come_in_pieces_and_together(world, run, dns_packets):
    async def scene():
        async with world() as here:
            here.open("api.test", "other.test")
            reader, writer = await here.connect("127.0.0.1", here.dns_port)
            both = b""
            for name in ("api.test", "other.test"):
                packet = dns_packets.query(name)
                both += struct.pack("!H", len(packet)) + packet
            for byte in both:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            writer.write(both)
            found = []
            for _ in range(4):
                size = int.from_bytes(await reader.readexactly(2))
                found += dns_packets.decoded(await reader.readexactly(size))[1]
            assert found == ["127.200.0.2", "127.200.0.3"] * 2
            writer.write_eof()
            assert await reader.read() == b""

    run(scene())


def test_tcp_connections_to_the_name_server_are_bounded(world, run):
    async def scene():
        async with world() as here:
            here.open("api.test")
            held = [await here.connect("127.0.0.1", here.dns_port) for _ in range(16)]
            await here.is_reset("127.0.0.1", here.dns_port)
            assert len(held) == 16
            assert (await here.look_up("api.test"))[0] == 0

    run(scene())


def test_names_keep_their_addresses_when_the_process_was_killed(world, run):
    async def scene():
        async with world() as first:
            first.open("*.test")
            told = {name: (await first.look_up(name))[1] for name in ("a.test", "b.test")}
        async with world() as second:
            second.open("*.test")
            assert (await second.look_up("b.test"))[1] == told["b.test"]
            assert (await second.look_up("c.test"))[1] not in told.values()
            assert (await second.look_up("a.test"))[1] == told["a.test"]

    run(scene())


def test_a_flood_of_different_denied_names_stays_readable(world, run):
    async def scene():
        async with world() as here:
            opened = here.open("api.test")
            service_records = 700
            for number in range(service_records):
                await here.look_up(f"n{number}.evil.test")
            opened.close()
            records = here.records()
            assert len(records) <= 514
            assert sum(record.times for record in records) == service_records
            assert any(record.host == "*" for record in records)

    run(scene())
