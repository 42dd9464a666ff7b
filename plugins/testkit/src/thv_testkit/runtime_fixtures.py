"""What every test of a runtime is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec
import pytest

from thv_core.spi import Deployment, DeploymentPlan, Namespace, Runtime, Surroundings
from thv_testkit.fakes import echo_root

__all__ = ["PlanMaker", "RuntimeFixtures", "unasked"]


def unasked(namespace: Namespace) -> None:
    """Fail: the sockets of this plan are asked for, and it neither reaches out nor has a port."""
    raise AssertionError(f"connect({namespace}) was called for a plan without network and port")


class PlanMaker(Protocol):
    """Makes a plan that runs the echo server with these arguments; ``changes`` are fields of the plan."""

    def __call__(self, *arguments: str, **changes: object) -> DeploymentPlan:
        """Make the plan."""
        ...


class RuntimeFixtures:
    """The runtime under test, a second instance of it, and plans for the echo server."""

    @pytest.fixture
    def runtime(self, surroundings: Surroundings) -> Runtime:
        """Give the runtime under test."""
        raise NotImplementedError("give a fixture named runtime")

    @pytest.fixture
    def again(self, runtime: Runtime, surroundings: Surroundings) -> Runtime:
        """Give a second instance in the same surroundings, as whoever comes back after a crash has it."""
        return type(runtime).from_settings({}, surroundings)

    @pytest.fixture
    def plan_for(self) -> PlanMaker:
        """Give what makes plans for the echo server."""

        def make(*arguments: str, **changes: object) -> DeploymentPlan:
            root = echo_root()
            deployment = Deployment(workload="conformance", generation=1)
            plan = DeploymentPlan(deployment=deployment, command=(*root.command, *arguments), root=root)
            return msgspec.structs.replace(plan, **changes)

        return make

    @pytest.fixture(autouse=True)
    def nothing_is_left_behind(self, runtime: Runtime) -> Iterator[None]:
        """Remove whatever a test deployed."""
        yield
        for each in runtime.observe():
            runtime.remove(each.deployment)
