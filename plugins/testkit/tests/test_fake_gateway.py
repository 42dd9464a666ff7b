"""The fake gateway keeps the protocol of routes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from thv_core.model.document import encode_document
from thv_core.model.route import Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_testkit.fake_gateway import FakeGateway, served
from thv_testkit.fast_loop import fast_loop


def route(generation: int, **more: object) -> Route:
    return Route(workload="a", incarnation=f"a.{generation}", port=1, log="l", **more)


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


def quiet(gateway: FakeGateway) -> dict[str, bool]:
    return {label: report.quiet for label, report in gateway.reports.items()}


def test_a_candidate_is_shaken_hands_with_once_and_takes_over_without_another(gateway: FakeGateway) -> None:
    gateway.route("a", route(1))
    gateway.route("a", route(1, candidate=route(2)))
    gateway.route("a", route(2, retiring=("a.1",)))
    assert gateway.shaken == ["a.1", "a.2"]
    assert {report.state for report in gateway.reports.values()} == {RouteState.READY}


def test_quiet_is_said_of_what_holds_or_retires_and_has_no_call_in_flight(gateway: FakeGateway) -> None:
    gateway.route("a", route(1))
    gateway.begin("a.1")
    assert quiet(gateway) == {"a.1": False}
    gateway.route("a", route(1, hold=True))
    assert quiet(gateway) == {"a.1": False}
    gateway.finish("a.1")
    assert quiet(gateway) == {"a.1": True}
    gateway.route("a", route(1))
    assert quiet(gateway) == {"a.1": False}
    gateway.route("a", route(2, retiring=("a.1",)))
    assert quiet(gateway) == {"a.1": True, "a.2": False}


def test_one_that_retires_and_that_it_never_knew_is_quiet_at_once(gateway: FakeGateway) -> None:
    gateway.route("a", route(2, retiring=("a.1",)))
    assert quiet(gateway) == {"a.1": True, "a.2": False}


def test_a_call_to_what_is_taken_away_is_cut(gateway: FakeGateway) -> None:
    gateway.route("a", route(1))
    gateway.begin("a.1")
    gateway.route("a", route(2, retiring=("a.1",)))
    assert gateway.cut == []
    gateway.route("a", route(2))
    assert (gateway.cut, dict(gateway.calls)) == (["a.1"], {})


def test_another_port_is_another_handshake(gateway: FakeGateway) -> None:
    gateway.route("a", route(1))
    gateway.route("a", replace(route(1), port=2))
    assert gateway.shaken == ["a.1", "a.1"]


def test_it_is_served_on_a_socket_and_reads_the_snapshot_when_it_is_told(gateway: FakeGateway, tmp_path: Path) -> None:
    heard: list[RouteReport] = []

    async def story() -> None:
        (tmp_path / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route(1),))))
        async with served(gateway, tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / GATEWAY_SOCKET))
            heard.append(json.loads(await reader.readline())["incarnation"])
            (tmp_path / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route(2),))))
            writer.write(b'{"order":"reload"}\n')
            heard.append(json.loads(await reader.readline())["incarnation"])
        assert await reader.read() == b""
        writer.close()

    asyncio.run(story())
    assert heard == ["a.1", "a.2"]


def test_a_fast_loop_lets_a_minute_pass_in_a_moment() -> None:
    async def story() -> float:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(60)
        return asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=lambda: fast_loop(1000)) as runner:
        assert 60 <= runner.run(story()) < 3600
