"""Which sockets a deployment needs, and which certificates it is to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest, PluginNotFound, SettingsError
from thv_core.model.network import MadeSocket, OutletPlan, SocketKind
from thv_core.model.plan import Deployment
from thv_core.model.profile import Network, Outbound
from thv_core.spi.egress import Egress
from thv_supervisor.control.outlets import CONNECTORS, MOST_SOCKETS, Outward, certificates, outlet_plan

REACHING = Network(outbound=Outbound(allow_host=("example.test",)))
NOTHING = Network()


def test_a_server_that_reaches_nothing_and_speaks_stdio_needs_no_socket_and_no_egress(rig: Any) -> None:
    del rig.drivers.handed[Egress, "names"]
    assert outlet_plan(NOTHING, 0, rig.kernel()) == OutletPlan()
    assert outlet_plan(NOTHING, 8000, rig.kernel()) == OutletPlan(connectors=CONNECTORS)
    assert outlet_plan(replace(REACHING, mode="none"), 0, rig.kernel()) == OutletPlan()
    with pytest.raises(PluginNotFound, match="Egress 'names'"):
        outlet_plan(REACHING, 0, rig.kernel())


def test_the_chosen_egress_plans_and_a_port_adds_connectors(rig: Any) -> None:
    plan = OutletPlan(pool="11.254.0.0/16", ports=(80, 443), proxy=3128, dns=53)
    assert outlet_plan(REACHING, 0, rig.kernel()) == plan
    assert outlet_plan(REACHING, 8000, rig.kernel()) == replace(plan, connectors=CONNECTORS)


def test_no_more_sockets_than_a_packet_carries(rig: Any) -> None:
    class Wide:
        ports: tuple[int, ...] = ()

        def plan(self, network: Network) -> OutletPlan:
            return OutletPlan(pool="11.254.0.0/16", ports=self.ports, proxy=3128, dns=53)

    egress = rig.drivers.handed[Egress, "names"] = Wide()
    most = MOST_SOCKETS - CONNECTORS - 3
    egress.ports = tuple(range(1000, 1000 + most))
    assert len(outlet_plan(REACHING, 8000, rig.kernel()).ports) == most
    egress.ports = tuple(range(1000, 1001 + most))
    with pytest.raises(InvalidRequest, match=f"{most + 1} ports, and {most} is the most"):
        outlet_plan(REACHING, 8000, rig.kernel())


def test_a_handover_says_whose_the_sockets_are() -> None:
    outward = Outward(Deployment(workload="a.b", generation=4), REACHING, OutletPlan(connectors=1), {"NO_PROXY": "x"})
    made = (MadeSocket(kind=SocketKind.CONNECTOR),)
    handover = outward.handover(made)
    assert (handover.workload, handover.incarnation, handover.sockets) == ("a.b", "a.b.4", made)
    assert (handover.network, handover.plan, handover.proxies) == (
        REACHING,
        OutletPlan(connectors=1),
        {"NO_PROXY": "x"},
    )
    assert outward.is_needed


def test_the_chosen_certificates_go_before_those_of_the_shell(rig: Any, tmp_path: Path) -> None:
    chosen, shell = tmp_path / "chosen.pem", tmp_path / "shell.pem"
    for each in (chosen, shell):
        each.write_text("x")
    assert certificates(rig.kernel(), {}) == ""
    assert certificates(rig.kernel(), {"SSL_CERT_FILE": str(shell)}) == str(shell)
    rig.configuration = replace(rig.configuration, ca_certificate_path=str(chosen))
    assert certificates(rig.kernel(), {"SSL_CERT_FILE": str(shell)}) == str(chosen)


@pytest.mark.parametrize("path", ["/nonexistent/ca.pem", "relative.pem", "/"])
def test_chosen_certificates_that_are_no_file_are_an_error_and_those_of_a_shell_are_none(rig: Any, path: str) -> None:
    assert certificates(rig.kernel(), {"SSL_CERT_FILE": path}) == ""
    rig.configuration = replace(rig.configuration, ca_certificate_path=path)
    with pytest.raises(SettingsError, match="ca_certificate_path") as refused:
        certificates(rig.kernel(), {})
    assert "thv config set ca_certificate_path" in refused.value.hint
