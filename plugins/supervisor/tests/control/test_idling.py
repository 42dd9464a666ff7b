"""Two hundred workloads of which nothing changes: keeping them costs next to nothing, and writes nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.model.run_config import RunConfig
from thv_core.model.status import Status
from thv_core.model.workload import Workload
from thv_core.state.store import StateStore
from thv_supervisor.control import observing
from thv_supervisor.control.reconciler import Reconciler

MOST = 200
LIMIT = 0.05
"""Seconds of the processor for one look at everything."""


def populate(rig: Any) -> None:
    """Let a predecessor have started so many servers."""
    store = StateStore(rig.paths.database)
    for number in range(MOST):
        name, generation = f"w{number}", store.next_generation()
        config = RunConfig(
            name=name, image="fake://echo@1.1.0", port=20_000 + number, runtime="memory", env_vars={"A": "1"}
        )
        store.add(
            Workload(
                name=name,
                config=config,
                request_id=name,
                status=Status.RUNNING,
                generation=generation,
                provisional=False,
            )
        )
        deployment = Deployment(workload=name, generation=generation)
        plan = DeploymentPlan(deployment=deployment, command=("x",), root=PackageRoot(path="/", command=("x",)))
        rig.runtime.deploy(plan, lambda namespace: None)
    store.close()


async def look(control: Reconciler) -> float:
    """Let everything be looked at once; return the seconds of the processor that it took."""
    began = time.process_time()
    await control.ground.observatory.refresh("memory")
    await control.end_strays("memory")
    control.runtimes()
    for name in control._keepers:
        control.wake(name)
    # Each keeper is woken, looks, and sleeps again before this task goes on twice.
    for _ in range(10):
        await asyncio.sleep(0)
    return time.process_time() - began


def test_a_look_at_what_is_unchanged_is_cheap_and_writes_nothing(rig: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(observing, "INTERVAL", 3600.0)
    populate(rig)

    async def story() -> None:
        async with rig.control() as control:
            await rig.until(lambda: len(rig.gateway.routes) == MOST)
            await rig.until(lambda: all(not each._wake.is_set() for each in control._keepers.values()))
            looked: list[str] = []
            for keeper in control._keepers.values():
                situation = keeper.tended.situation
                keeper.tended.situation = lambda situation=situation: looked.append("") or situation()
            before = [path.read_bytes() for path in sorted(rig.paths.state.rglob("*")) if path.is_file()]
            rig.fuse.burnt.clear()
            rig.gateway.published.clear()
            took = min([await look(control) for _ in range(5)])
            assert len(looked) >= 5 * MOST
            assert (rig.fuse.burnt, rig.gateway.published) == ([], [])
            assert [path.read_bytes() for path in sorted(rig.paths.state.rglob("*")) if path.is_file()] == before
            assert took <= LIMIT, f"{took * 1000:.1f} ms"
            print(f"{took * 1000:.1f} ms")  # noqa: T201 - read by whoever measures

    asyncio.run(story())
