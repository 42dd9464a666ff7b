"""From a name to a connected socket at an address that was checked."""

import asyncio
import ipaddress
import socket
import time

import pytest

from thv_core.spi import Verdict
from thv_egress import dialing

UNREACHABLE = "192.0.2.1"


@pytest.fixture
def connect(world):
    """Connects through CONNECT; returns the status."""

    async def connecting(here, target):
        reader, _ = await here.through_proxy(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])

    return connecting


def test_a_name_is_resolved_once_for_each_connection_and_the_checked_address_is_used(world, run, connect):
    async def scene():
        async with world() as here:
            port = await here.serve()
            answers = iter([["127.0.0.1"], ["127.0.0.2"]])
            here.names["rebinding.test"] = lambda: next(answers)
            here.open(f"rebinding.test:{port}", f"127.0.0.1:{port}")
            assert await connect(here, f"rebinding.test:{port}") == 200
            assert here.looked_up == ["rebinding.test"]

    run(scene())


def test_a_name_that_resolves_to_the_inside_later_is_denied_later(world, run, connect, monkeypatch):
    monkeypatch.setattr("thv_egress.resolving.REMEMBERED", 0.0)

    async def scene():
        async with world() as here:
            port = await here.serve()
            answers = iter([["127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"], ["127.0.0.2"]])
            here.names["rebinding.test"] = lambda: next(answers)
            here.open(f"rebinding.test:{port}", f"127.0.0.1:{port}")
            assert await connect(here, f"rebinding.test:{port}") == 200
            for _ in range(3):
                assert await connect(here, f"rebinding.test:{port}") == 403
            denied = [each for each in await here.recorded(3) if each.verdict is Verdict.DENIED]
            assert [each.address for each in denied] == ["169.254.169.254", "10.0.0.1", "127.0.0.2"]

    run(scene())


def test_fine_addresses_are_used_when_others_are_refused(world, run, connect):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["mixed.test"] = ["10.0.0.1", "::1", "127.0.0.1", "fe80::1"]
            here.open(f"mixed.test:{port}", f"127.0.0.1:{port}")
            assert await connect(here, f"mixed.test:{port}") == 200

    run(scene())


def test_an_address_rule_counts_for_its_ports_only(world, run, connect):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["db.test"] = ["127.0.0.1"]
            here.open(f"db.test:{port}", "127.0.0.1:5432")
            assert await connect(here, f"db.test:{port}") == 403

    run(scene())


def test_an_address_of_this_machine_is_refused_though_it_is_public(world, run, connect, monkeypatch):
    monkeypatch.setattr(dialing, "refusal", lambda address: "")

    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["me.test"] = ["127.0.0.1"]
            here.open(f"me.test:{port}")
            assert await connect(here, f"me.test:{port}") == 403
            (record,) = await here.recorded()
            assert "of this machine" in record.reason

    run(scene())


def test_the_next_address_is_tried_while_the_first_is_silent(world, run, connect, monkeypatch):
    silent = socket.socket()
    silent.bind(("127.0.0.3", 0))
    silent.listen(0)
    port = silent.getsockname()[1]
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.3", port))

    async def scene():
        async with world() as here:
            await here.serve(port=port)
            here.names["two.test"] = ["127.0.0.3", "127.0.0.1"]
            here.open(f"two.test:{port}", "127.0.0.0/8:" + str(port))
            begin = time.monotonic()
            assert await connect(here, f"two.test:{port}") == 200
            assert 0.2 < time.monotonic() - begin < 5

    try:
        run(scene())
    finally:
        for each in (silent, *fillers):
            each.close()


def test_the_next_address_is_tried_at_once_when_the_first_refuses(world, run, connect):
    async def scene():
        async with world() as here:
            port = await here.serve()
            here.names["two.test"] = ["127.0.0.3", "127.0.0.4", "127.0.0.1"]
            here.open(f"two.test:{port}", f"127.0.0.0/8:{port}")
            begin = time.monotonic()
            assert await connect(here, f"two.test:{port}") == 200
            assert time.monotonic() - begin < 0.25

    run(scene())


def test_a_host_that_never_answers_is_given_up(world, run, connect, monkeypatch):
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT", 0.3)
    silent = socket.socket()
    silent.bind(("127.0.0.3", 0))
    silent.listen(0)
    port = silent.getsockname()[1]
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.3", port))

    async def scene():
        async with world() as here:
            here.open(f"127.0.0.3:{port}")
            assert await connect(here, f"127.0.0.3:{port}") == 504
            (record,) = await here.recorded()
            assert (record.verdict, record.address) == (Verdict.FAILED, "127.0.0.3")

    try:
        run(scene())
    finally:
        for each in (silent, *fillers):
            each.close()


def test_a_resolver_that_never_answers_is_given_up_and_does_not_stop_others(world, run, connect, monkeypatch):
    monkeypatch.setattr(dialing, "RESOLVE_TIMEOUT", 0.2)

    async def scene():
        async with world() as here:
            port = await here.serve()
            resolve, hanging = here.resolve, asyncio.Event()

            async def slow(host):
                if host == "slow.test":
                    await hanging.wait()
                return await resolve(host)

            here.egress = type(here.egress)(here.settings, here.state, type(here.egress._resolver)(slow))
            here.names["fine.test"] = ["127.0.0.1"]
            here.open(f".test:{port}", f"127.0.0.1:{port}")
            assert await connect(here, f"slow.test:{port}") == 504
            assert await connect(here, f"fine.test:{port}") == 200
            hanging.set()
            await asyncio.sleep(0)

    run(scene())


def test_a_server_that_gave_up_waiting_for_its_look_ups_still_has_them(world, run, connect, monkeypatch):
    monkeypatch.setattr(dialing, "RESOLVE_TIMEOUT", 0.1)

    async def scene():
        async with world() as here:
            hanging = asyncio.Event()
            asked = []

            async def never(host):
                asked.append(host)
                await hanging.wait()
                return ["10.0.0.1"]

            here.egress = type(here.egress)(here.settings, here.state, type(here.egress._resolver)(never))
            here.open("*")
            for number in range(4):
                assert await connect(here, f"slow{number}.test:443") == 504
            assert asked == ["slow0.test", "slow1.test"]
            hanging.set()
            await asyncio.sleep(0)
            assert await connect(here, "later.test:443") == 403

    run(scene())


def test_an_unknown_name_is_a_failure_and_not_a_denial(world, run, connect):
    async def scene():
        async with world() as here:
            here.open("*")
            assert await connect(here, "missing.test:443") == 502
            (record,) = await here.recorded()
            assert record.verdict is Verdict.FAILED
            assert "does not resolve" in record.reason

    run(scene())


def test_the_two_families_take_turns():
    addresses = [ipaddress.ip_address(text) for text in ("::1", "::2", "::3", "1.1.1.1", "2.2.2.2")]
    assert [str(each) for each in dialing._interleaved(addresses)] == ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]
