"""The eyes of control on the runtimes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from thv_core.errors import RuntimeUnavailable
from thv_core.model.entry import PackageRoot
from thv_core.model.plan import Deployment, DeploymentPlan
from thv_core.spi.runtimes import Runtime
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.observing import Observatory


def deploy(rig: Any, workload: str, generation: int) -> None:
    root = PackageRoot(path="/", command=("x",))
    deployment = Deployment(workload=workload, generation=generation)
    plan = DeploymentPlan(deployment=deployment, command=("x",), root=root)
    rig.runtime.deploy(plan, lambda namespace: None)


def test_what_was_never_asked_is_unknown_and_what_is_empty_is_nothing(rig: Any) -> None:
    async def story() -> None:
        observatory = Observatory(rig.drivers, DriverCalls(), lambda workload: None)
        assert observatory.sees("memory", "a") is None
        await observatory.refresh("memory")
        assert observatory.sees("memory", "a") == ()
        assert list(observatory.workloads("memory")) == []

    asyncio.run(story())


def test_only_what_changed_is_told(rig: Any) -> None:
    async def story() -> None:
        changed: list[str] = []
        observatory = Observatory(rig.drivers, DriverCalls(), changed.append)
        deploy(rig, "a", 1)
        deploy(rig, "a", 2)
        deploy(rig, "b", 3)
        await observatory.refresh("memory")
        assert sorted(changed) == ["a", "b"]
        assert [each.deployment.generation for each in observatory.sees("memory", "a") or ()] == [1, 2]
        await observatory.refresh("memory")
        assert len(changed) == 2
        rig.runtime.exit("b.3", 1)
        await observatory.refresh("memory")
        assert changed[2:] == ["b"]
        rig.runtime.seen.clear()
        await observatory.refresh("memory")
        assert sorted(changed[3:]) == ["a", "b"]

    asyncio.run(story())


@pytest.mark.parametrize("mistake", [None, ValueError("a vendor's mistake")])
def test_a_runtime_that_fails_is_unknown_until_it_answers_again(
    rig: Any, broken_engine: Exception, mistake: Exception | None
) -> None:
    async def story() -> None:
        observatory = Observatory(rig.drivers, DriverCalls(), lambda workload: None)
        deploy(rig, "a", 1)
        await observatory.refresh("memory")
        rig.runtime.unobservable = mistake or broken_engine
        await observatory.refresh("memory")
        assert observatory.sees("memory", "a") is None
        rig.runtime.unobservable = None
        await observatory.refresh("memory")
        assert observatory.sees("memory", "a")

    asyncio.run(story())


def test_a_runtime_that_is_not_installed_is_unknown(rig: Any) -> None:
    async def story() -> None:
        observatory = Observatory(rig.drivers, DriverCalls(), lambda workload: None)
        await observatory.refresh("unheard-of")
        assert observatory.sees("unheard-of", "a") is None

    asyncio.run(story())


async def nothing_more(runtime: str) -> None:
    """Do nothing after a look."""


def test_a_runtime_that_hangs_delays_no_other(rig: Any) -> None:
    release = threading.Event()

    class Hanging(type(rig.runtime)):
        def observe(self) -> list[Any]:
            release.wait(20)
            return []

    rig.drivers.handed[Runtime, "hangs"] = Hanging(rig.fuse)

    async def story() -> None:
        observatory = Observatory(rig.drivers, DriverCalls(), lambda workload: None)
        watching = asyncio.create_task(observatory.watch(lambda: ("hangs", "memory"), nothing_more))
        await rig.until(lambda: observatory.sees("memory", "a") is not None)
        deploy(rig, "a", 1)
        await rig.until(lambda: observatory.sees("memory", "a"))
        await asyncio.wait_for(observatory.refresh("memory"), 10)
        assert observatory.sees("hangs", "a") is None
        release.set()
        watching.cancel()
        await asyncio.wait({watching}, timeout=10)

    asyncio.run(story())


def test_each_look_is_followed_up_and_one_that_fails_ends_nothing(rig: Any) -> None:
    followed: list[tuple[str, int]] = []

    async def story() -> None:
        observatory = Observatory(rig.drivers, DriverCalls(), lambda workload: None)

        async def afterwards(runtime: str) -> None:
            followed.append((runtime, len(observatory.sees("memory", "a") or ())))
            raise RuntimeUnavailable("in between")

        deploy(rig, "a", 1)
        watching = asyncio.create_task(observatory.watch(lambda: ("memory",), afterwards))
        await rig.until(lambda: len(followed) > 2)
        assert not watching.done()
        watching.cancel()
        await asyncio.wait({watching}, timeout=10)

    asyncio.run(story())
    assert set(followed) == {("memory", 1)}
