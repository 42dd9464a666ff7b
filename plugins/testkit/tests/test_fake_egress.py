import asyncio
import contextlib
import socket

import pytest

from thv_core.errors import InvalidRequest, SettingsError
from thv_core.spi import MadeSocket, Outlet, OutletPlan, SocketKind, Verdict, Way
from thv_testkit.egress import EgressContract
from thv_testkit.fakes import FakeEgress, SocketlessEgress
from thv_testkit.name_queries import addresses_in
from thv_testkit.outlets import asked, driven, made_socket, profile, recorded, shouting_server, whole


class TestFakeEgress(EgressContract):
    @pytest.fixture
    def egress(self, surroundings):
        return FakeEgress.from_settings({}, surroundings)


def outlet(plan, network, *sockets):
    return Outlet(workload="web", incarnation="web.1", network=network, plan=plan, sockets=sockets)


def test_a_name_of_the_table_is_reached_by_programs_that_know_of_no_proxy(tmp_path):
    egress = FakeEgress(tmp_path, {"web.example": "127.0.0.1"})
    plan = OutletPlan(pool="127.77.0.0/16")

    async def scenario():
        async with shouting_server() as target:
            # The listener of the namespace has the port of the server: only its address differs.
            rules = profile(f"web.example:{target}")
            listener = socket.create_server(("127.77.0.2", target))
            listener.setblocking(False)
            resolver, asking = made_socket(SocketKind.DNS_UDP)
            made = MadeSocket(kind=SocketKind.PORT, port=target)
            with contextlib.closing(egress.open(outlet(plan, rules, (resolver, asking), (made, listener)))):
                (address,) = addresses_in(await asked(resolver.port, "web.example"))
                reader, writer = await asyncio.open_connection(address, target)
                writer.write(b"hello")
                writer.write_eof()
                assert await whole(reader, writer) == b"HELLO"
                return await recorded(egress, "web.example", Way.NAME)

    record = driven(scenario())
    assert (record.verdict, record.address, record.sent, record.received) == (Verdict.ALLOWED, "127.0.0.1", 5, 5)


def test_the_egress_of_the_fake_runtime_checks_rules_and_makes_no_sockets_on_the_host(surroundings):
    egress = SocketlessEgress.from_settings({}, surroundings)
    assert egress.plan(profile("example.com")) == OutletPlan()
    with pytest.raises(InvalidRequest):
        egress.plan(profile("two words"))


def test_the_fake_egress_has_no_settings(surroundings):
    with pytest.raises(SettingsError):
        FakeEgress.from_settings({"colour": "red"}, surroundings)
