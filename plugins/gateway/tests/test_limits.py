"""Servers on pipes that write too much: bounded, told to their users, and no burden for others."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.document import decode_document
from thv_core.model.route import RouteReport, RouteState
from thv_gateway.pipes.noise import BURST, Noise
from thv_testkit.fakes import FakeClock
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port

PROGRAM = Path(__file__).parent / "programs/flooding_server.py"
TICKS = os.sysconf("SC_CLK_TCK")
LIST_CHANGED = '{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}\\n'
STRAY_ANSWER = '{"jsonrpc":"2.0","id":"nobody","result":{}}\\n'


def flooding(folder: Path, piece: str, *times: str) -> RunningServer:
    return RunningServer(folder / "servers", [sys.executable, str(PROGRAM), piece, *times], name="flood")


def cpu_seconds(gateway: RunningGateway) -> float:
    assert gateway.process is not None
    fields = Path(f"/proc/{gateway.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_memory(gateway: RunningGateway) -> int:
    assert gateway.process is not None
    text = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def noted(gateway: RunningGateway, incarnation: str) -> RouteReport:
    """Wait for a report with a note."""
    with gateway.connected() as channel, channel.makefile("rb") as lines:
        for line in lines:
            report = decode_document(line, RouteReport, "a report")
            if report.incarnation == incarnation and report.notes:
                return report
    raise AssertionError("the gateway hung up")


@pytest.mark.parametrize(
    ("piece", "note"),
    [
        ("Listening for you\\n", "that is not MCP to standard output"),
        ("\\n", "that it is read slowly"),
        (LIST_CHANGED, "of messages that no client asked for"),
        (STRAY_ANSWER, "of messages that no client asked for"),
    ],
    ids=["noise", "blank-lines", "notifications", "answers"],
)
def test_a_flood_is_slowed_down_and_told_and_others_are_served(
    piece: str, note: str, gateway: RunningGateway, start_server: Any, tmp_path: Path
) -> None:
    echo, flood = start_server(), flooding(tmp_path, piece)
    client = McpClient(free_port())
    try:
        gateway.start().serve(echo.route(client.port), flood.route(free_port()))
        gateway.until(RouteState.READY, "echo.1")
        client.initialize()
        report = noted(gateway, "flood.1")
        assert report.state is RouteState.READY
        assert note in report.notes[0]
        waits: list[float] = []
        began, spent = time.monotonic(), cpu_seconds(gateway)
        while time.monotonic() - began < 2:
            sent = time.monotonic()
            assert client.tool("echo", text="x")
            waits.append(time.monotonic() - sent)
        assert sorted(waits)[len(waits) // 2] < 0.05
        assert len(waits) > 50
        assert peak_memory(gateway) < 120 << 20
        assert cpu_seconds(gateway) - spent < 1.9
    finally:
        client.close()
        flood.stop()


def test_a_line_of_a_hundred_megabytes_ends_the_route_with_a_reason(
    gateway: RunningGateway, start_server: Any, tmp_path: Path
) -> None:
    flood = flooding(tmp_path, "x", "1600")
    try:
        gateway.start().serve(flood.route(free_port()))
        report = gateway.until(RouteState.FAILED, "flood.1")
        assert report.reason == "flood wrote a line of more than 32 MiB to standard output"
        assert peak_memory(gateway) < 160 << 20
    finally:
        flood.stop()


def test_a_burst_of_noise_is_no_flood() -> None:
    clock = FakeClock()
    noise = Noise(lambda: clock.now)
    for _ in range(BURST // 2 // 100):
        noise.note(b"x" * 30)
    assert noise.rest() == 0.0
    assert noise.notes == ("wrote more than 1 MB that is not MCP to standard output",)
    for _ in range(BURST // 100):
        noise.note(b"x" * 99)
    assert noise.rest() == 2.0
    assert noise.notes[-1] == "writes so much in vain to standard output that it is read slowly"
    clock.advance(2.0)
    assert noise.rest() == 0.0


def test_notes_come_at_each_doubling() -> None:
    noise = Noise(lambda: 0.0)
    seen = [noise.notes]
    for _ in range(5_000):
        noise.note(b"x" * 999)
        if noise.notes != seen[-1]:
            seen.append(noise.notes)
    assert seen == [
        (),
        *((f"wrote more than {size} MB that is not MCP to standard output",) for size in (1, 2, 4)),
    ]
