"""Serve as the supervisor does: with what the environment says."""

import os
import sys
from pathlib import Path

from thv_core.spi import GatewaySeat
from thv_core.spi.drivers import Surroundings
from thv_gateway.gateway import HttpGateway

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    gateway = HttpGateway.from_settings({}, Surroundings(folder, folder, dict(os.environ)))
    gateway.serve(GatewaySeat(folder, int(sys.argv[2]), {}))
