"""The part of the conformance class of egress that is about names, and about programs that know of no proxy."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import asyncio
import ipaddress
import socket

from thv_core.spi import Egress, EgressRecord, MadeSocket, Network, SocketKind, Verdict, Way
from thv_testkit.egress_fixtures import NOWHERE, POOL, EgressFixtures, opened, serving
from thv_testkit.name_queries import AAAA, NAME_ERROR, addresses_in, code_of
from thv_testkit.outlets import asked, asked_over_tcp, driven, made_socket, profile, recorded, whole

__all__ = ["EgressNamesContract"]


class EgressNamesContract(EgressFixtures):
    """What every egress does with names; :class:`thv_testkit.egress.EgressContract` includes it."""

    def test_an_allowed_name_has_an_address_of_the_pool_and_no_other_kind(self, egress: Egress) -> None:
        async def scenario() -> tuple[bytes, bytes, bytes, bytes]:
            sockets = (SocketKind.DNS_UDP, SocketKind.DNS_TCP)
            with opened(egress, profile("a.example", "b.example"), *sockets) as (udp, tcp):
                return (
                    await asked(udp.port, "a.example"),
                    await asked_over_tcp(tcp.port, "A.Example"),
                    await asked(udp.port, "b.example"),
                    await asked(udp.port, "a.example", AAAA),
                )

        first, same, other, sixth = driven(scenario())
        (address,) = addresses_in(first)
        assert ipaddress.ip_address(address) in ipaddress.ip_network(POOL)
        assert addresses_in(same) == [address]
        assert addresses_in(other) not in ([], [address])
        assert (code_of(sixth), addresses_in(sixth)) == (0, [])

    def test_a_name_that_is_not_listed_does_not_exist_and_is_recorded(self, egress: Egress) -> None:
        async def scenario() -> EgressRecord:
            with opened(egress, profile("a.example"), SocketKind.DNS_UDP) as (udp,):
                assert code_of(await asked(udp.port, "forbidden.example")) == NAME_ERROR
                return await recorded(egress, "forbidden.example", Way.DNS)

        record = driven(scenario())
        assert (record.verdict, record.rule) == (Verdict.DENIED, "")

    def test_an_incarnation_keeps_the_addresses_of_its_names_when_a_second_instance_takes_over(
        self, egress: Egress, again: Egress
    ) -> None:
        names = ("a.example", "b.example", "c.example")

        async def look_up(driver: Egress, *wanted: str) -> list[list[str]]:
            with opened(driver, profile(*names), SocketKind.DNS_UDP) as (udp,):
                return [addresses_in(await asked(udp.port, name)) for name in wanted]

        first = driven(look_up(egress, *names))
        assert driven(look_up(again, *reversed(names))) == first[::-1]

    def test_who_connects_an_address_of_the_pool_means_its_name(self, egress: Egress, again: Egress) -> None:
        async def look_up() -> str:
            with opened(egress, profile(NOWHERE), SocketKind.DNS_UDP) as (udp,):
                return addresses_in(await asked(udp.port, NOWHERE))[0]

        async def connect(listener: tuple[MadeSocket, socket.socket], network: Network) -> EgressRecord:
            with serving(again, network, listener):
                reader, writer = await asyncio.open_connection(address, listener[0].port)
                assert await whole(reader, writer) == b""
                return await recorded(again, NOWHERE, Way.NAME)

        address = driven(look_up())
        listener = made_socket(SocketKind.PORT, address)
        rule = f"{NOWHERE}:{listener[0].port}"
        record = driven(connect(listener, profile(rule)))
        assert (record.verdict, record.port, record.rule) == (Verdict.FAILED, listener[0].port, rule)
        assert record.reason

    def test_an_address_of_the_pool_that_no_name_has_leads_nowhere(self, egress: Egress) -> None:
        async def scenario() -> bytes:
            listener = made_socket(SocketKind.PORT, "127.77.9.9")
            with serving(egress, profile(f"*:{listener[0].port}"), listener):
                return await whole(*await asyncio.open_connection("127.77.9.9", listener[0].port))

        assert driven(scenario()) == b""
