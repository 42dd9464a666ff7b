"""Deployment plans: everything a runtime needs to start one server, computed by pure code."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document
from thv_core.model.entry import PackageRoot
from thv_core.model.profile import Grant, Network, grant, volume
from thv_core.model.run_config import RunConfig

__all__ = ["Deployment", "DeploymentPlan", "Environment", "deployment_plan", "grants_of"]


class Environment(Document, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Environment variables with their values; its representation shows names only, because values may be secret."""

    values: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        return f"Environment({', '.join(sorted(self.values))})"


class Deployment(Document, frozen=True, kw_only=True):
    """Which life of which workload: ``generation`` grows with each start, so that two lives are never confused."""

    workload: str
    generation: int

    @property
    def label(self) -> str:
        """``NAME.GENERATION``, unique for all time on this machine."""
        return f"{self.workload}.{self.generation}"


class DeploymentPlan(Document, frozen=True, kw_only=True):
    """One server to start: what it runs, sees, may reach and is given."""

    deployment: Deployment
    command: tuple[str, ...]
    root: PackageRoot
    environment: Environment = Environment()
    grants: tuple[Grant, ...] = ()
    network: Network = Network()


def grants_of(config: RunConfig) -> tuple[Grant, ...]:
    """Return every path that a configuration grants: of its profile, then of its volumes."""
    profile = config.permission_profile
    return (
        *(grant(mount, writable=False) for mount in profile.read),
        *(grant(mount, writable=True) for mount in profile.write),
        *(volume(text) for text in config.volumes),
    )


def deployment_plan(
    config: RunConfig, generation: int, root: PackageRoot, secrets: Mapping[str, str]
) -> DeploymentPlan:
    """Compute the plan for one life of a workload.

    :param secrets: values by the environment variable that receives them.
    :raises InvalidRequest: when two grants name the same target.
    """
    grants = grants_of(config)
    targets = [each.target for each in grants]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidRequest(f"two grants name {target}", hint="Grant it once, by the profile or by --volume.")
    return DeploymentPlan(
        deployment=Deployment(workload=config.name, generation=generation),
        command=(*root.command, *config.cmd_args),
        root=root,
        environment=Environment(values={**root.environment, **config.env_vars, **secrets}),
        grants=grants,
        network=config.permission_profile.network,
    )
