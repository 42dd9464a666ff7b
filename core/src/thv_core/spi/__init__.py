"""THE PUBLIC CONTRACT: the only package, with :mod:`thv_core.errors`, that a plugin's author imports.

It re-exports every type of the model that appears in a contract. Nothing else of thv is promised.
"""

from thv_core.model.entry import PackageRoot, PackageSpec, ServerEntry
from thv_core.model.events import Progress, WorkloadEvent
from thv_core.model.identity import LOCAL_USER, Identity
from thv_core.model.message import Kind, Message
from thv_core.model.plan import Deployment, DeploymentPlan, Environment
from thv_core.model.profile import Grant, Inbound, Network, Outbound, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.status import Status
from thv_core.spi.console import Console
from thv_core.spi.drivers import Driver, Surroundings
from thv_core.spi.gateways import Gateway, GatewaySeat
from thv_core.spi.hooks import Hooks, hookimpl
from thv_core.spi.middleware import Exchange, Middleware, MiddlewareRecipe, Outcome, Reply, Stage
from thv_core.spi.observers import WorkloadObserver
from thv_core.spi.runtimes import Observed, ObservedState, Probe, Runtime, RuntimeCapabilities, Stdio
from thv_core.spi.secrets import SecretStore, StoreCapabilities
from thv_core.spi.sources import Builder, ServerSource

__all__ = [
    "LOCAL_USER",
    "Builder",
    "Console",
    "Deployment",
    "DeploymentPlan",
    "Driver",
    "Environment",
    "Exchange",
    "Gateway",
    "GatewaySeat",
    "Grant",
    "Hooks",
    "Identity",
    "Inbound",
    "Kind",
    "Message",
    "Middleware",
    "MiddlewareConfig",
    "MiddlewareRecipe",
    "Network",
    "Observed",
    "ObservedState",
    "Outbound",
    "Outcome",
    "PackageRoot",
    "PackageSpec",
    "PermissionProfile",
    "Probe",
    "Progress",
    "Reply",
    "RunConfig",
    "Runtime",
    "RuntimeCapabilities",
    "SecretStore",
    "ServerEntry",
    "ServerSource",
    "Stage",
    "Status",
    "Stdio",
    "StoreCapabilities",
    "Surroundings",
    "WorkloadEvent",
    "WorkloadObserver",
    "hookimpl",
]
