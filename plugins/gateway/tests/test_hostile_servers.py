"""What a server of HTTP may say of itself, and how much, without harm to the others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_gateway.relays.flights import Flights
from thv_gateway.relays.relayed import RelayedStream
from thv_gateway.stages.chain import Arrival, Chain
from thv_testkit.gateways import RunningGateway, free_port

SCRIPTED = "scripted_http_server.py"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"protocolVersion": "1\r\nx: y"}, "its answer names no protocol version"),
        ({"protocolVersion": "1" * 100_000}, "its answer names no protocol version"),
        ({"instructions": "x" * (2 << 20)}, f"its answer has more than {1 << 20} bytes"),
    ],
    ids=["line-break", "long", "large"],
)
def test_a_greeting_that_cannot_be_used_fails_with_its_reason(
    said: dict[str, Any],
    reason: str,
    gateway: RunningGateway,
    http_server: Any,
    tmp_path: Path,
    control_of: Any,
    write_snapshot: Any,
) -> None:
    script = tmp_path / "said.json"
    script.write_text(json.dumps(said))
    write_snapshot(gateway.start(), http_server(SCRIPTED, "0", str(script)).route(tmp_path))
    with control_of(gateway) as control:
        control.hear()
        control.hand_over()
    assert gateway.until(RouteState.FAILED, "echo.1").reason == f"echo refused initialize: {reason}"


def test_a_greeting_on_pipes_that_cannot_be_used_fails_too(gateway: RunningGateway, start_server: Any) -> None:
    gateway.start().serve(
        start_server("scripted_server.py", {"initialize": {"protocolVersion": "1\r\n2"}}).route(free_port())
    )
    assert (
        gateway.until(RouteState.FAILED, "echo.1").reason
        == "echo refused initialize: its answer names no protocol version"
    )


def test_a_report_stays_short_enough_for_control(
    gateway: RunningGateway, http_server: Any, reach: Any, tmp_path: Path
) -> None:
    (tmp_path / "said.json").write_text("{}")
    reach(gateway, http_server(SCRIPTED, "0", str(tmp_path / "said.json"), "long-names"))
    tools = gateway.until(RouteState.READY, "echo.1").tools
    assert 100 < len(tools) < 1000


class Piece:
    """The connection of a server that sent one piece of a stream."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self) -> bytes:
        data, self.data = self.data, b""
        return data


def test_a_flood_of_small_events_leaves_turns_to_others() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def flood() -> None:
        link: Any = SimpleNamespace(flights=Flights(60, lambda: 0.0), finish=lambda flight: flight.unwatch())
        piece: Any = Piece(b":\n\n" * 80_000)
        arrival = Arrival(workload="w", method="GET", path="/mcp", headers=())
        link.route = SimpleNamespace(request_timeout=60.0)
        other = asyncio.create_task(others())
        source: Any = SimpleNamespace(link=link)
        stream = RelayedStream(source, link.flights.begin(arrival), piece, ())
        await stream.flow(arrival, Chain((), lambda stage, error: None))
        other.cancel()

    asyncio.run(flood())
    assert turns > 100
