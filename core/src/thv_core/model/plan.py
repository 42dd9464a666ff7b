"""Deployment plans: everything a runtime needs to start one server, computed by pure code."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from thv_core.errors import InvalidRequest
from thv_core.model.document import Document
from thv_core.model.entry import PackageRoot
from thv_core.model.profile import Grant, Network, PermissionProfile, grant, volume
from thv_core.model.quantity import memory_bytes
from thv_core.model.run_config import PROXY_PORT, RunConfig

__all__ = [
    "CERTIFICATES",
    "Deployment",
    "DeploymentPlan",
    "Environment",
    "ResourceLimits",
    "deployment_plan",
    "grants_of",
    "outward_environment",
    "resource_limits",
]

CERTIFICATES = "/run/thv/certificates.pem"
"""Where a server finds the certificates that its user trusts beside, or instead of, those of the system."""

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_NOT_BY_PROXY = "localhost,127.0.0.1,::1"
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")


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


class ResourceLimits(Document, frozen=True, kw_only=True):
    """Limits as numbers: ``memory`` bytes, ``cpu`` cores (0 is no limit), ``pids`` tasks, ``files`` of each process."""

    memory: int = 512 << 20
    cpu: float = 0.0
    pids: int = 256
    files: int = 1024


class DeploymentPlan(Document, frozen=True, kw_only=True):
    """One server to start: what it runs, sees, may reach, use and is given.

    ``workspaces`` are folders of thv itself that it may write at the same path, for the preparation of packages only.
    ``tmpfs`` maps absolute paths to bytes. ``certificates`` is a file of this machine that the server sees at
    :data:`CERTIFICATES`, or empty. ``port`` is the one that the server listens on, 0 when it speaks stdio.
    """

    deployment: Deployment
    command: tuple[str, ...]
    root: PackageRoot
    environment: Environment = Environment()
    grants: tuple[Grant, ...] = ()
    workspaces: tuple[str, ...] = ()
    network: Network = Network()
    limits: ResourceLimits = ResourceLimits()
    require_limits: bool = False
    tmpfs: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    allow_socket: bool = False
    certificates: str = ""
    port: int = 0


def grants_of(config: RunConfig) -> tuple[Grant, ...]:
    """Return every path that a configuration grants: of its profile, then of its volumes."""
    profile = config.permission_profile
    return (
        *(grant(mount, writable=False) for mount in profile.read),
        *(grant(mount, writable=True) for mount in profile.write),
        *(volume(text) for text in config.volumes),
    )


def resource_limits(profile: PermissionProfile) -> ResourceLimits:
    """Return the limits of a profile as numbers.

    :raises InvalidRequest: when its memory is no quantity.
    """
    limits = profile.limits
    return ResourceLimits(memory=memory_bytes(limits.memory), cpu=limits.cpu, pids=limits.pids, files=limits.files)


def outward_environment(network: Network, certificates: str) -> dict[str, str]:
    """Return what tells programs how they reach out: proxy variables in both cases, and certificates."""
    variables: dict[str, str] = {}
    if network.reaches_out:
        proxy = f"http://127.0.0.1:{PROXY_PORT}"
        variables |= dict.fromkeys(_PROXY_VARIABLES, proxy)
        variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), _NOT_BY_PROXY)
        variables["NODE_USE_ENV_PROXY"] = "1"
    if certificates:
        variables |= dict.fromkeys(_CERTIFICATE_VARIABLES, CERTIFICATES)
    return variables


def deployment_plan(
    config: RunConfig, generation: int, root: PackageRoot, secrets: Mapping[str, str], certificates: str = ""
) -> DeploymentPlan:
    """Compute the plan for one life of a workload.

    :param secrets: values by the environment variable that receives them.
    :param certificates: a file of certificates that the user trusts, or empty.
    :raises InvalidRequest: when two grants name the same target.
    """
    grants = grants_of(config)
    targets = [each.target for each in grants]
    for target in targets:
        if targets.count(target) > 1:
            raise InvalidRequest(f"two grants name {target}", hint="Grant it once, by the profile or by --volume.")
    profile = config.permission_profile
    outward = outward_environment(profile.network, certificates)
    return DeploymentPlan(
        deployment=Deployment(workload=config.name, generation=generation),
        command=(*root.command, *config.cmd_args),
        root=root,
        environment=Environment(
            values={**root.environment, **outward, **_listening(config), **config.env_vars, **secrets}
        ),
        grants=grants,
        network=profile.network,
        limits=resource_limits(profile),
        require_limits=profile.require_limits,
        tmpfs={path: memory_bytes(size) for path, size in profile.tmpfs.items()},
        allow_socket=profile.allow_socket,
        certificates=certificates,
        port=config.target_port,
    )


def _listening(config: RunConfig) -> dict[str, str]:
    if not config.target_port:
        return {}
    port = str(config.target_port)
    return {
        "MCP_TRANSPORT": config.transport,
        "MCP_PORT": port,
        "FASTMCP_PORT": port,
        "MCP_HOST": "127.0.0.1",
        "PORT": port,
    }
