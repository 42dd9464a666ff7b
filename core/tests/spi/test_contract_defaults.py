"""What a contract does for a driver that does not do it itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import PluginNotFound, SecretNotFound, Unsupported
from thv_core.model.entry import PreparedPackage
from thv_core.model.network import Handover, MadeSocket, OutletPlan, SocketKind
from thv_core.model.plan import Deployment
from thv_core.model.profile import Network
from thv_core.spi import Builder, Finished, GatewaySeat, Job, Outlet, Runtime, RuntimeCapabilities, Surroundings


def test_a_runtime_offers_nothing_that_it_does_not_name() -> None:
    assert RuntimeCapabilities() == RuntimeCapabilities(
        packages=False, images=False, network=False, builds=False, limits=False
    )


def test_a_runtime_without_namespaces_says_of_which_deployment_it_has_none() -> None:
    with pytest.raises(Unsupported, match=r"the runtime of time\.3 has no network namespaces"):
        Runtime.namespace(None, Deployment(workload="time", generation=3))


def test_a_builder_that_cannot_list_has_nothing_and_deletes_nothing() -> None:
    assert Builder.prepared(None) == ()
    assert Builder.discard(None, PreparedPackage(reference="uvx://a@1", path="/cache/a")) is None


def test_surroundings_without_a_store_have_no_secret_and_show_none() -> None:
    around = Surroundings(state=Path("/s"), cache=Path("/c"), environment={"TOKEN": "s3cret"})
    with pytest.raises(SecretNotFound, match="secret token is not set"):
        around.secret("token")
    assert "s3cret" not in repr(around)


def test_a_gateway_without_egress_says_so_only_when_it_is_asked_for() -> None:
    seat = GatewaySeat(directory=Path("/g"), lifeline=3)
    with pytest.raises(PluginNotFound, match="no egress is at hand"):
        seat.egress()


@pytest.mark.parametrize(("code", "timed_out"), [(-1, True), (0, False), (1, False), (137, False)])
def test_a_job_that_took_too_long_is_told_from_one_that_failed(code: int, timed_out: bool) -> None:
    assert Finished(exit_code=code).timed_out is timed_out


def test_a_job_sees_and_reaches_nothing_unless_it_says_so() -> None:
    job = Job(name="install", command=("uv",))
    assert (job.read, job.write, job.reach, job.environment.values) == ((), (), (), {})


PROXIES = {"HTTPS_PROXY": "http://ada:s3cret@proxy.example:8080"}


def test_the_password_of_a_proxy_is_in_no_representation() -> None:
    sockets = (MadeSocket(kind=SocketKind.PROXY, port=3128),)
    handed = Handover(
        workload="web", incarnation="web.1", network=Network(), plan=OutletPlan(), sockets=sockets, proxies=PROXIES
    )
    assert repr(handed) == str(handed) == "Handover(web.1, 1 sockets)"
    outlet = Outlet(
        workload="web", incarnation="web.1", network=Network(), plan=OutletPlan(), sockets=(), proxies=PROXIES
    )
    assert "s3cret" not in repr(outlet)
    assert list(outlet.calls()) == []
