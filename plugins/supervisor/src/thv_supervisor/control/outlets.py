"""What a deployment needs to be reached and to reach out: its sockets, and how its user reaches out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from thv_core.errors import InvalidRequest, SettingsError
from thv_core.kernel import Kernel
from thv_core.model.network import Handover, MadeSocket, OutletPlan
from thv_core.model.plan import Deployment
from thv_core.model.profile import Network
from thv_core.spi.egress import Egress

__all__ = ["CONNECTORS", "MOST_SOCKETS", "Outward", "certificates", "outlet_plan"]

CONNECTORS = 64
"""How many connections to an HTTP server the gateway can open before it is handed more sockets."""

MOST_SOCKETS = 253
"""How many descriptors Linux passes in one packet."""


@dataclass(frozen=True)
class Outward:
    """The connection of one deployment: which sockets, and what the gateway needs to serve them."""

    deployment: Deployment
    network: Network
    plan: OutletPlan
    proxies: Mapping[str, str]

    @property
    def is_needed(self) -> bool:
        """Whether there is any socket to make."""
        return self.plan != OutletPlan()

    def handover(self, sockets: tuple[MadeSocket, ...]) -> Handover:
        """Return what the gateway is told beside the descriptors of ``sockets``."""
        return Handover(
            workload=self.deployment.workload,
            incarnation=self.deployment.label,
            network=self.network,
            plan=self.plan,
            sockets=sockets,
            proxies=dict(self.proxies),
        )


def outlet_plan(network: Network, port: int, kernel: Kernel) -> OutletPlan:
    """Return the sockets that a server needs which reaches ``network`` and listens on ``port`` (0: it speaks stdio).

    :raises ThvError: when the egress cannot be had, or the profile asks for what cannot be.
    """
    plan = OutletPlan()
    if network.reaches_out:
        plan = kernel.drivers.get(Egress, kernel.configuration.egress).plan(network)
    if port:
        plan = msgspec.structs.replace(plan, connectors=CONNECTORS)
    excess = len(plan.ports) + plan.connectors + bool(plan.proxy) + 2 * bool(plan.dns) - MOST_SOCKETS
    if excess > 0:
        most = len(plan.ports) - excess
        raise InvalidRequest(
            f"the profile reaches {len(plan.ports)} ports, and {most} is the most",
            hint="Name fewer ports; the HTTP proxy needs none of them.",
        )
    return plan


def certificates(kernel: Kernel, environment: Mapping[str, str]) -> str:
    """Return the file of certificates that servers are to trust: the chosen one, or the shell's, or none.

    :raises SettingsError: when the chosen one is no file.
    """
    chosen = kernel.configuration.ca_certificate_path
    if chosen:
        if not (Path(chosen).is_absolute() and Path(chosen).is_file()):
            raise SettingsError(
                f"ca_certificate_path is {chosen}, which is no file with an absolute path",
                hint="thv config set ca_certificate_path /etc/company/ca.pem",
            )
        return chosen
    shell = environment.get("SSL_CERT_FILE", "")
    return shell if Path(shell).is_absolute() and Path(shell).is_file() else ""
