"""``thv inspector``, with a stand-in for the inspector."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from thv_core.errors import NotFound, NotReady
from thv_supervisor import inspecting
from thv_supervisor.commands.inspector import inspector

PAGE = "http://127.0.0.1:6274/?MCP_INSPECTOR_API_TOKEN=t"
LIST = ("GET", "/api/v1beta/workloads?all=true")


class StandIn:
    """What was inspected, and how the inspector ends: by itself with a code, or by Ctrl-C."""

    def __init__(self) -> None:
        self.inspections: list[Any] = []
        self.ended = False
        self.code: int | None = None

    @contextmanager
    def run(self, inspection: Any, environment: Mapping[str, str]) -> Generator[Any]:
        self.inspections.append(inspection)
        try:
            yield PAGE, self.wait
        finally:
            self.ended = True

    def wait(self) -> int:
        if self.code is None:
            raise KeyboardInterrupt
        return self.code


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, control: Any) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(inspecting, "inspector", stand_in.run)
    views = [
        {"name": "time", "status": "running", "url": "http://127.0.0.1:19001/mcp", "proxy_mode": "streamable-http"},
        {"name": "idle", "status": "stopped", "url": "", "proxy_mode": "streamable-http"},
    ]
    control.answers[LIST] = {"workloads": views}
    return stand_in


def test_the_page_is_printed_and_ctrl_c_ends_it_well(stand_in: StandIn, invoke: Any, console: Any) -> None:
    assert invoke(inspector, "time").exit_code == 0
    assert console.lines == [PAGE]
    assert "not isolated" in console.messages[0]
    assert stand_in.ended
    assert stand_in.inspections == [
        inspecting.Inspection("http://127.0.0.1:19001/mcp", "streamable-http", 6274, 6277),
    ]


def test_both_ports_can_be_chosen_and_differ(stand_in: StandIn, invoke: Any) -> None:
    invoke(inspector, "time", "-u", "7000", "-p", "7001")
    assert (stand_in.inspections[0].ui_port, stand_in.inspections[0].proxy_port) == (7000, 7001)
    assert invoke(inspector, "time", "--ui-port", "7000", "--mcp-proxy-port", "7000").exit_code == 2


def test_one_that_ends_by_itself_is_a_failure(stand_in: StandIn, invoke: Any, console: Any) -> None:
    stand_in.code = 3
    assert invoke(inspector, "time").exit_code == 1
    assert console.messages[-1] == "the inspector ended by itself with code 3"


def test_a_workload_that_is_not_there_or_does_not_run_is_refused(stand_in: StandIn, invoke: Any) -> None:
    with pytest.raises(NotFound) as unknown:
        invoke(inspector, "tiem")
    assert unknown.value.hint == "Did you mean time?"
    with pytest.raises(NotReady) as idle:
        invoke(inspector, "idle")
    assert idle.value.hint == "thv start idle"
    assert stand_in.inspections == []
