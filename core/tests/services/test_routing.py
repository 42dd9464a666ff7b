"""The route of a workload."""

from __future__ import annotations

import msgspec

from thv_core.model.plan import Deployment
from thv_core.model.profile import Inbound, Network, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.workload import Workload
from thv_core.services.routing import route
from thv_core.spi.runtimes import Observed, ObservedState, Stdio

CONFIG = RunConfig(
    name="time", image="uvx://t@1", port=19001, additional_middleware_configs=(MiddlewareConfig(type="audit"),)
)
OBSERVED = Observed(
    deployment=Deployment(workload="time", generation=3),
    state=ObservedState.RUNNING,
    stdio=Stdio(stdin="in", stdout="out", lock="lock"),
)


def made(**changes: object) -> object:
    config = msgspec.structs.replace(CONFIG, **changes)
    return route(Workload(name="time", config=config, request_id="r"), OBSERVED, "/log", (5.0, 50.0))


def test_a_server_that_speaks_stdio_is_reached_through_its_pipes() -> None:
    found = made()
    assert (found.incarnation, found.host, found.port, found.log) == ("time.3", "127.0.0.1", 19001, "/log")
    assert (found.stdin, found.stdout, found.lock) == ("in", "out", "lock")
    assert (found.transport, found.target_port, found.allow_host) == ("stdio", 0, ())
    assert (found.start_timeout, found.request_timeout) == (5.0, 50.0)
    assert found.middleware == (MiddlewareConfig(type="audit"),)


def test_an_http_server_is_reached_at_its_port_by_the_names_of_its_profile() -> None:
    profile = PermissionProfile(network=Network(inbound=Inbound(allow_host=("box",))))
    found = made(transport="streamable-http", target_port=8000, permission_profile=profile)
    assert (found.transport, found.target_port, found.allow_host) == ("streamable-http", 8000, ("box",))


def test_the_name_of_loopback_is_its_address() -> None:
    assert made(host="localhost").host == "127.0.0.1"
    assert made(host="::1").host == "::1"
