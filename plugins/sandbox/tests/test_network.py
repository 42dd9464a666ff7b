"""The network namespace of a server, for each kind of user with each bubblewrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from thv_core.spi import DeploymentPlan, Grant, Network, Outbound


@pytest.mark.parametrize(
    "changes",
    [{"network": Network(outbound=Outbound(allow_host=("example.test",)))}, {"port": 8000}],
    ids=["out", "in"],
)
@pytest.mark.parametrize("origin", ["system", "bundled"])
def test_a_namespace_is_connected_while_the_server_is_held(
    account: Any, plan_of: Callable[..., DeploymentPlan], origin: str, changes: dict[str, object]
) -> None:
    grant = Grant(source=str(account.folder / "out"), target="/out", writable=True)
    plan = msgspec.structs.replace(plan_of(account, "marker.py", grants=(grant,)), **changes)
    report = account.drive("connected", plan, bubblewrap=origin)
    assert report["seen"] == [[report["later"], False]]
    assert report["later"] != report["host"]
    assert report["began"]
