"""The fixture in a process of its own, and a gateway before it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.staged_gateway import EVERYWHERE
from thv_core.model.route import Route, RouteState
from thv_testkit.gateways import RunningGateway, RunningServer, free_port

TESTS = Path(__file__).parents[2]
STAGED = TESTS / "harness" / "staged_gateway.py"


def command(era: str, transport: str, port: int = 0) -> list[str]:
    """Return the command that serves the fixture."""
    options = ["--era", era, "--transport", transport, "--port", str(port)]
    return ["env", f"PYTHONPATH={TESTS}", sys.executable, "-m", "harness.dual_era", *options]


class HttpFixture:
    """The fixture over HTTP; started again it listens on the same port."""

    def __init__(self, folder: Path, era: str, transport: str = "streamable-http") -> None:
        self.era, self.transport = era, transport
        self._log = folder / f"{era}-{transport}.log"
        self._port = 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("a") as errors:
            words = command(self.era, self.transport, self._port)
            self.process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=errors, text=True)
        assert self.process.stderr is not None
        self.url = self.process.stderr.readline().strip()
        found = re.search(r":(\d+)/", self.url)
        assert found is not None, self.url
        self._port = int(found[1])

    def route(self, port: int, transport: str = "") -> Route:
        """Return a route to it, by its own transport or by another that is believed of it."""
        return Route(
            workload="far",
            incarnation="far.1",
            port=port,
            log="/dev/null",
            transport=transport or self.transport,
            target_url=self.url,
            middleware=EVERYWHERE,
        )

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


class PipedFixture:
    """The fixture on pipes."""

    def __init__(self, folder: Path, era: str) -> None:
        self._server = RunningServer(folder, command(era, "stdio"), name=f"fixture-{era}")

    def route(self, port: int) -> Route:
        """Return a route to it."""
        return self._server.route(port, EVERYWHERE)

    def stop(self) -> None:
        """Kill it."""
        self._server.stop()


def fixture(folder: Path, era: str, transport: str) -> HttpFixture | PipedFixture:
    """Return the running fixture."""
    return PipedFixture(folder, era) if transport == "stdio" else HttpFixture(folder, era, transport)


@contextlib.contextmanager
def gateway_before(route: Route, folder: Path) -> Iterator[RunningGateway]:
    """Serve a route by a gateway with a plugin that sees everything."""
    gateway = RunningGateway([sys.executable, str(STAGED)], folder)
    gateway.serve(route)
    try:
        yield gateway.start()
    finally:
        gateway.cut_lifeline()
        gateway.kill()


@contextlib.contextmanager
def through_gateway(folder: Path, era: str, transport: str) -> Iterator[str]:
    """Start the fixture and a gateway before it, and return the address for clients."""
    folder.mkdir()
    upstream = fixture(folder, era, transport)
    try:
        route = upstream.route(free_port())
        with gateway_before(route, folder / "gateway") as gateway:
            gateway.until(RouteState.READY, route.incarnation)
            yield f"http://127.0.0.1:{route.port}/mcp"
    finally:
        upstream.stop()
