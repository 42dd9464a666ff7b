"""The contract of gateways: the process that carries MCP traffic. Group ``thv.gateways``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thv_core.errors import PluginNotFound
from thv_core.spi.drivers import Driver
from thv_core.spi.egress import Egress
from thv_core.spi.middleware import MiddlewareRecipe

__all__ = ["GATEWAY_SOCKET", "NETWORK_SOCKET", "ROUTES_FILE", "Gateway", "GatewaySeat"]

ROUTES_FILE = "routes.json"
"""The :class:`thv_core.model.route.RouteSnapshot`, written atomically by control, mode 0600."""

GATEWAY_SOCKET = "gateway.sock"
"""The Unix socket (0600) on which a gateway takes ``GatewayCommand`` lines and sends ``RouteReport`` lines."""


NETWORK_SOCKET = "network.sock"
"""The Unix socket (SOCK_SEQPACKET, 0600) on which a gateway takes ``Handover`` and sends ``NetworkReport`` packets."""


def _no_egress() -> Egress:
    """Refuse, for a gateway that is served without an egress."""
    raise PluginNotFound("no egress is at hand")


@dataclass(frozen=True)
class GatewaySeat:
    """Where a gateway runs: its private directory, the lifeline, and the middleware that plugins offer.

    ``lifeline`` is a descriptor that reaches end-of-file when the supervisor is gone; ``recipes`` are by name.
    ``egress`` returns the chosen egress, or raises whatever keeps it from working. ``workers`` is how many processes
    carry the traffic; a gateway may fork them, so that there are no threads yet.
    """

    directory: Path
    lifeline: int
    recipes: Mapping[str, MiddlewareRecipe] = field(default_factory=dict[str, MiddlewareRecipe])
    egress: Callable[[], Egress] = _no_egress
    workers: int = 1


class Gateway(Driver):
    """Serves every route of the snapshot, in one process, until it is told to stop."""

    @abstractmethod
    def serve(self, seat: GatewaySeat) -> None:
        """Serve until the lifeline closes (exit at once), SIGTERM or ``drain`` (finish the calls in flight, bounded).

        At the start the snapshot file is read and every route of it is served again: same ports, same servers,
        stored handshakes, and session ids of the predecessor are accepted.
        """
