"""The conformance class of egress (:class:`thv_core.spi.Egress`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import socket
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest, ThvError
from thv_core.model.run_config import PROXY_PORT
from thv_core.spi import (
    Egress,
    EgressRecord,
    MadeSocket,
    Network,
    Outbound,
    OutletPlan,
    SocketKind,
    Surroundings,
    Verdict,
    Way,
)
from thv_testkit.egress_fixtures import CALL, NOWHERE, opened, outlet_of
from thv_testkit.egress_names import EgressNamesContract
from thv_testkit.outlets import (
    asked,
    connect_to,
    driven,
    made_socket,
    profile,
    recorded,
    shouting_server,
    through,
    whole,
)

__all__ = ["EgressContract"]

_PASSWORD = "shh-a-parent-password"  # noqa: S105 - a value to look for


class EgressContract(EgressNamesContract):
    """What every egress does. Give the fixture ``egress``, constructed from the fixture ``surroundings``.

    Override ``again`` when a second instance needs settings. The tests run on an event loop, with sockets on loopback
    in place of those of a namespace, and reach out to nothing but loopback. The pool is that of the outlet's plan.
    """

    # Plans ------------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("network", [Network(), Network(mode="none", outbound=Outbound(insecure_allow_all=True))])
    def test_who_reaches_nothing_needs_no_sockets(self, egress: Egress, network: Network) -> None:
        assert egress.plan(network) == OutletPlan()

    def test_a_listed_host_needs_a_resolver_a_proxy_and_a_listener_for_each_port(self, egress: Egress) -> None:
        plan = egress.plan(profile("example.com", "database.example.com:5432"))
        assert set(plan.ports) >= {80, 443, 5432}
        assert (plan.proxy, plan.dns, plan.connectors) == (PROXY_PORT, 53, 0)
        assert ipaddress.ip_network(plan.pool).num_addresses > 256

    def test_planning_is_a_pure_computation(self, egress: Egress, again: Egress) -> None:
        assert egress.plan(profile("example.com")) == again.plan(profile("example.com"))

    @pytest.mark.parametrize("entry", ["http://example.com", "two words", "example.com:99999", "10.0.0.0/99", ""])
    def test_what_cannot_be_meant_is_refused(self, egress: Egress, entry: str) -> None:
        with pytest.raises(InvalidRequest):
            egress.plan(profile(entry))

    # The proxy --------------------------------------------------------------------------------------------------------

    def test_an_allowed_address_is_connected_and_recorded_with_its_calls(self, egress: Egress) -> None:
        async def scenario() -> EgressRecord:
            async with shouting_server() as port:
                rule = f"127.0.0.1:{port}"
                with opened(egress, profile(rule), SocketKind.PROXY) as (proxy,):
                    async with through(proxy.port, connect_to(rule)) as (status, reader, writer):
                        assert 200 <= status < 300
                        writer.write(b"hello")
                        writer.write_eof()
                        assert await whole(reader, writer) == b"HELLO", "what comes after the end of ours is lost"
                    return await recorded(egress, "127.0.0.1", Way.CONNECT)

        record = driven(scenario())
        assert (record.workload, record.incarnation) == ("conformance", "conformance.1")
        assert (record.verdict, record.address, record.reason) == (Verdict.ALLOWED, "127.0.0.1", "")
        assert record.rule == f"127.0.0.1:{record.port}"
        assert (record.sent, record.received, record.calls) == (5, 5, (CALL,))
        assert abs(record.at - time.time()) < 60
        assert 0 <= record.seconds < 60

    def test_a_plain_request_is_passed_on_to_an_allowed_address(self, egress: Egress) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\na page")
            writer.close()

        async def scenario() -> EgressRecord:
            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with contextlib.closing(server), opened(egress, profile(target), SocketKind.PROXY) as (proxy,):
                request = f"GET http://{target}/path?x=1 HTTP/1.1\r\nHost: {target}\r\nProxy-Connection: keep-alive"
                async with through(proxy.port, request) as (status, reader, _):
                    assert (status, await reader.readexactly(6)) == (200, b"a page")
                return await recorded(egress, "127.0.0.1", Way.HTTP)

        heads: list[bytes] = []
        assert driven(scenario()).verdict is Verdict.ALLOWED
        assert heads[0].startswith(b"GET /path?x=1 HTTP/1.1\r\n")

    @pytest.mark.parametrize("target", ["127.0.0.1:9", "forbidden.example:443", "127.0.0.2:80", "[::1]:80"])
    def test_what_is_not_listed_is_refused_and_recorded(self, egress: Egress, target: str) -> None:
        async def scenario() -> EgressRecord:
            with opened(egress, profile("127.0.0.1:80", "example.com"), SocketKind.PROXY) as (proxy,):
                async with through(proxy.port, connect_to(target)) as (status, _, _):
                    assert status >= 400
                return await recorded(egress, host.strip("[]"), Way.CONNECT)

        host, _, port = target.rpartition(":")
        record = driven(scenario())
        assert (record.verdict, record.port, record.rule) == (Verdict.DENIED, int(port), "")
        assert record.reason
        assert record.calls == (CALL,)

    def test_a_name_never_permits_an_address_of_this_machine(self, egress: Egress) -> None:
        async def scenario() -> EgressRecord:
            async with shouting_server() as port:
                target = f"localhost:{port}"
                with opened(egress, profile(target, "*"), SocketKind.PROXY) as (proxy,):
                    async with through(proxy.port, connect_to(target)) as (status, _, _):
                        assert status >= 400
                    return await recorded(egress, "localhost", Way.CONNECT)

        assert driven(scenario()).verdict is not Verdict.ALLOWED

    @pytest.mark.parametrize(
        "garbage", [b"\0\1\2\r\n\r\n", b"CONNECT\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100_000]
    )
    def test_garbage_at_the_proxy_disturbs_nobody(self, egress: Egress, garbage: bytes) -> None:
        async def scenario() -> bytes:
            async with shouting_server() as port:
                rule = f"127.0.0.1:{port}"
                with opened(egress, profile(rule), SocketKind.PROXY) as (proxy,):
                    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                    writer.write(garbage)
                    writer.write_eof()
                    await whole(reader, writer)
                    async with through(proxy.port, connect_to(rule)) as (_, reader, writer):
                        writer.write(b"hello")
                        writer.write_eof()
                        return await whole(reader, writer)

        assert driven(scenario()) == b"HELLO"

    # Records, and the end ---------------------------------------------------------------------------------------------

    def test_records_are_those_of_one_workload_or_of_all_oldest_first_and_outlive_the_instance(
        self, egress: Egress, again: Egress
    ) -> None:
        async def scenario() -> None:
            for workload in ("first", "second", "third"):
                with opened(egress, profile("a.example"), SocketKind.DNS_UDP, workload=workload) as (udp,):
                    await asked(udp.port, f"{workload}.forbidden.example")
                    await recorded(egress, f"{workload}.forbidden.example", Way.DNS)

        driven(scenario())
        assert [each.workload for batch in again.records() for each in batch] == ["first", "second", "third"]
        assert [each.workload for batch in again.records(workload="second") for each in batch] == ["second"]
        assert not [each for batch in again.records(workload="nobody") for each in batch]

    def test_following_records_goes_on(self, egress: Egress, again: Egress) -> None:
        following = again.records(follow=True)
        assert not next(following)

        async def scenario() -> None:
            with opened(egress, profile("a.example"), SocketKind.DNS_UDP) as (udp,):
                await asked(udp.port, "forbidden.example")
                await recorded(egress, "forbidden.example", Way.DNS)

        driven(scenario())
        deadline = time.monotonic() + 10
        while not (batch := next(following)):
            assert time.monotonic() < deadline, "what is new is not told"
        assert [each.host for each in batch] == ["forbidden.example"]
        assert not next(following)

    def test_closing_cuts_and_records_every_connection_and_closes_every_socket(self, egress: Egress) -> None:
        async def scenario() -> EgressRecord:
            async with shouting_server() as port:
                made = [made_socket(kind) for kind in (SocketKind.PROXY, SocketKind.DNS_UDP, SocketKind.DNS_TCP)]
                with _closed_in_the_end(made):
                    outlet = egress.open(outlet_of(profile(f"127.0.0.1:{port}"), *made))
                    async with through(made[0][0].port, connect_to(f"127.0.0.1:{port}")) as (_, reader, writer):
                        writer.write(b"hello")
                        assert await reader.readexactly(5) == b"HELLO"
                        outlet.close()
                        assert [each.fileno() for _, each in made] == [-1, -1, -1]
                        assert await whole(reader, writer) == b""
                with pytest.raises(OSError, match="Connect call failed"):
                    await asyncio.open_connection("127.0.0.1", made[0][0].port)
                return await recorded(egress, "127.0.0.1", Way.CONNECT)

        record = driven(scenario())
        assert (record.verdict, record.sent, record.received) == (Verdict.ALLOWED, 5, 5)

    def test_an_outlet_that_cannot_be_served_is_refused_and_its_sockets_are_closed(self, egress: Egress) -> None:
        async def scenario() -> None:
            made = [made_socket(SocketKind.PROXY), made_socket(SocketKind.DNS_UDP)]
            with _closed_in_the_end(made):
                with pytest.raises(ThvError):
                    egress.open(outlet_of(profile("two words"), *made))
                assert [each.fileno() for _, each in made] == [-1, -1]

        driven(scenario())

    def test_the_password_of_a_parent_proxy_is_in_no_file_record_or_representation(
        self, egress: Egress, surroundings: Surroundings
    ) -> None:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), f"http://me:{_PASSWORD}@127.0.0.1:9")

        async def scenario() -> EgressRecord:
            made = made_socket(SocketKind.PROXY)
            outlet = dataclasses.replace(outlet_of(profile(NOWHERE), made), proxies=proxies)
            with contextlib.closing(egress.open(outlet)) as opened:
                async with through(made[0].port, connect_to(f"{NOWHERE}:443")) as (status, _, _):
                    assert status >= 400
                assert _PASSWORD not in repr(opened) + repr(egress) + repr(outlet)
                return await recorded(egress, NOWHERE, Way.CONNECT)

        record = driven(scenario())
        assert record.verdict is Verdict.FAILED
        assert _PASSWORD not in repr(record)
        for folder in (surroundings.state, surroundings.cache):
            assert not [file for file in folder.rglob("*") if file.is_file() and _holds(file, _PASSWORD)]


@contextlib.contextmanager
def _closed_in_the_end(made: Sequence[tuple[MadeSocket, socket.socket]]) -> Generator[None]:
    """Close what an egress should have closed, so that it disturbs no other test."""
    try:
        yield
    finally:
        for _, each in made:
            each.close()


def _holds(file: Path, text: str) -> bool:
    return text.encode() in file.read_bytes()
