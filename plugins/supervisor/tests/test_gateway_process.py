"""The seat of the gateway: where it sits, and what it may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from thv_core.errors import PluginNotFound
from thv_core.spi.egress import Egress
from thv_core.spi.gateways import Gateway, GatewaySeat
from thv_core.state.configuration import Configuration
from thv_core.state.paths import Paths
from thv_supervisor import gateway_process


class SeatedGateway:
    """Keeps the seat that it was given."""

    def __init__(self) -> None:
        self.seats: list[GatewaySeat] = []

    def serve(self, seat: GatewaySeat) -> None:
        self.seats.append(seat)


class Offered:
    """Drivers by contract and name, as a test offers them."""

    def __init__(self, drivers: dict[Any, Any]) -> None:
        self.drivers = drivers

    def get(self, contract: Any, name: str) -> Any:
        if (contract, name) not in self.drivers:
            raise PluginNotFound(f"no installed plugin offers {name}")
        return self.drivers[contract, name]


@pytest.fixture
def lifeline() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_a_gateway_gets_the_chosen_egress_when_it_asks_and_not_before(
    paths: Paths, lifeline: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, egress = SeatedGateway(), object()
    offered = Offered({(Gateway, "http"): gateway})
    kernel = SimpleNamespace(
        paths=paths,
        configuration=Configuration(egress="other"),
        drivers=offered,
        hooks=SimpleNamespace(middleware=dict),
    )
    monkeypatch.setattr(gateway_process, "compose", lambda environment, system: kernel)
    monkeypatch.setattr(gateway_process, "raise_file_limit", lambda: None)
    gateway_process.main(lifeline)
    (seat,) = gateway.seats
    assert (seat.directory, seat.lifeline) == (paths.gateway, lifeline)
    assert not os.get_inheritable(lifeline)
    with pytest.raises(PluginNotFound, match="other"):
        seat.egress()
    offered.drivers[Egress, "other"] = egress
    assert seat.egress() is egress
