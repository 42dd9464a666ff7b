"""THE PUBLIC CONTRACT: the only package, with :mod:`thv_core.errors`, that a plugin's author imports.

It re-exports every type of the model that appears in a contract. Nothing else of thv is promised.
"""

from thv_core.model.egress import CallInFlight, EgressRecord, Verdict, Way
from thv_core.model.entry import PackageRoot, PackageSpec, PreparedPackage, ServerEntry
from thv_core.model.events import Progress, WorkloadEvent
from thv_core.model.identity import LOCAL_USER, Identity
from thv_core.model.message import Kind, Message
from thv_core.model.network import Handover, MadeSocket, Namespace, NetworkReport, OutletPlan, SocketKind
from thv_core.model.plan import CERTIFICATES, Deployment, DeploymentPlan, Environment, ResourceLimits
from thv_core.model.profile import Grant, Inbound, Limits, Network, Outbound, PermissionProfile
from thv_core.model.reach import Match, Rule, canonical_host, outbound_rules, reached_ports
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.serving import HeaderForward, ScalingConfig, SessionRedis
from thv_core.model.status import Status
from thv_core.spi.console import Console
from thv_core.spi.drivers import Driver, Surroundings
from thv_core.spi.egress import Egress, OpenOutlet, Outlet
from thv_core.spi.gateways import Gateway, GatewaySeat
from thv_core.spi.hooks import Hooks, hookimpl
from thv_core.spi.middleware import Exchange, Middleware, MiddlewareRecipe, Outcome, Reply, Stage
from thv_core.spi.observers import WorkloadObserver
from thv_core.spi.runtimes import Observed, ObservedState, Probe, Runtime, RuntimeCapabilities, Stdio
from thv_core.spi.secrets import SecretStore, StoreCapabilities
from thv_core.spi.sources import Builder, ServerSource
from thv_core.spi.workshops import Finished, Job, Workshop

__all__ = [
    "CERTIFICATES",
    "LOCAL_USER",
    "Builder",
    "CallInFlight",
    "Console",
    "Deployment",
    "DeploymentPlan",
    "Driver",
    "Egress",
    "EgressRecord",
    "Environment",
    "Exchange",
    "Finished",
    "Gateway",
    "GatewaySeat",
    "Grant",
    "Handover",
    "HeaderForward",
    "Hooks",
    "Identity",
    "Inbound",
    "Job",
    "Kind",
    "Limits",
    "MadeSocket",
    "Match",
    "Message",
    "Middleware",
    "MiddlewareConfig",
    "MiddlewareRecipe",
    "Namespace",
    "Network",
    "NetworkReport",
    "Observed",
    "ObservedState",
    "OpenOutlet",
    "Outbound",
    "Outcome",
    "Outlet",
    "OutletPlan",
    "PackageRoot",
    "PackageSpec",
    "PermissionProfile",
    "PreparedPackage",
    "Probe",
    "Progress",
    "Reply",
    "ResourceLimits",
    "Rule",
    "RunConfig",
    "Runtime",
    "RuntimeCapabilities",
    "ScalingConfig",
    "SecretStore",
    "ServerEntry",
    "ServerSource",
    "SessionRedis",
    "SocketKind",
    "Stage",
    "Status",
    "Stdio",
    "StoreCapabilities",
    "Surroundings",
    "Verdict",
    "Way",
    "WorkloadEvent",
    "WorkloadObserver",
    "Workshop",
    "canonical_host",
    "hookimpl",
    "outbound_rules",
    "reached_ports",
]
