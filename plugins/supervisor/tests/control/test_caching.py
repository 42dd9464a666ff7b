"""What is prepared and used: also by a change that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from thv_core.model.entry import PreparedPackage
from thv_core.model.request import RunRequest
from thv_supervisor.control.caching import contents, prune
from thv_supervisor.control.reconciler import Reconciler


def play(rig: Any, story: Callable[[Reconciler], Awaitable[None]]) -> None:
    async def once() -> None:
        async with rig.control() as control:
            await story(control)

    asyncio.run(once())


def test_a_package_that_a_workload_is_changed_to_is_used_and_not_removed(rig: Any) -> None:
    packages = [PreparedPackage(reference=f"fake://echo@{version}", path=version) for version in ("1.0.0", "1.1.0")]
    packages.append(PreparedPackage(reference="fake://silent@1.0.0", path="silent"))
    discarded: list[str] = []
    rig.drivers.names = lambda contract: ["fake"]
    rig.builder.prepared = lambda: packages
    rig.builder.discard = lambda package: discarded.append(package.path)

    async def story(control: Reconciler) -> None:
        await rig.run(control, rig.request("fake://echo@1.0.0"))
        rig.gateway.answer = rig.gateway.silent
        config = replace(control.ground.store.get("echo").config, image="fake://echo@1.1.0")
        await control.submit(RunRequest(request_id="e", replaces="echo", run_config=config))
        users = {each.package.path: each.workloads for each in (await contents(control.ground)).packages}
        assert users == {"1.0.0": ("echo",), "1.1.0": ("echo",), "silent": ()}
        await prune(control.ground, control.turn, unused_since=1.0)
        assert discarded == ["silent"]

    play(rig, story)
