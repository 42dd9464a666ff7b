"""Give the chosen gateway its seat: ``python -m thv_supervisor.gateway_process LIFELINE``."""

from __future__ import annotations

import logging
import os
import sys

from thv_core.kernel import compose
from thv_core.spi.egress import Egress
from thv_core.spi.gateways import Gateway, GatewaySeat
from thv_supervisor.file_limit import raise_file_limit

__all__ = ["main"]


def main(lifeline: int) -> None:
    """Carry traffic until SIGTERM, or until the supervisor is gone and ``lifeline`` closes."""
    logging.basicConfig(format="%(asctime)s gateway %(levelname)s %(message)s", level=logging.INFO)
    os.set_inheritable(lifeline, False)
    raise_file_limit()
    kernel = compose(os.environ, sys.platform)
    gateway = kernel.drivers.get(Gateway, kernel.configuration.gateway)
    gateway.serve(
        GatewaySeat(
            directory=kernel.paths.gateway,
            lifeline=lifeline,
            recipes=kernel.hooks.middleware(),
            egress=lambda: kernel.drivers.get(Egress, kernel.configuration.egress),
            workers=kernel.configuration.gateway_workers,
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
