"""What it takes to run a gateway in a test: its process, servers behind FIFOs, and a client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Self

from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi import MiddlewareConfig
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE
from thv_testkit.waiting import eventually

__all__ = ["ECHO", "SECONDS", "McpClient", "RunningGateway", "RunningServer", "free_port", "listens", "serve_command"]

Json = dict[str, Any]

ECHO = Path(__file__).parent / "echo" / "__main__.py"
"""The program of the echo server."""

SECONDS = 20.0
"""How long anything may take."""

_PROGRAM = """
import importlib, pathlib, sys
from thv_core.spi import GatewaySeat, Surroundings
load = lambda name: getattr(importlib.import_module(name.partition(":")[0]), name.partition(":")[2])
driver, *egress, folder, lifeline = sys.argv[1:]
folder = pathlib.Path(folder)
own = Surroundings(state=folder, cache=folder)
way_out = {"egress": lambda: load(egress[0]).from_settings({}, own)} if egress else {}
load(driver)().serve(GatewaySeat(folder, int(lifeline), workers=WORKERS, **way_out))
"""


def serve_command(driver: str, workers: int = 1) -> list[str]:
    """Return the command that serves a driver named ``MODULE:CLASS``; a folder and the lifeline are appended to it.

    The name of an egress may be appended first; its state is then that folder.
    """
    return [sys.executable, "-c", _PROGRAM.replace("WORKERS", str(workers)), driver]


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningServer:
    """A stdio server behind FIFOs, as a runtime starts it: it holds both open and never sees an end-of-file."""

    def __init__(self, folder: Path, command: Sequence[str] = (), name: str = "echo", generation: int = 1) -> None:
        self.folder = folder / f"{name}.{generation}"
        self.folder.mkdir(parents=True)
        self.name, self.generation = name, generation
        ends = [self.folder / "stdin", self.folder / "stdout"]
        for end in ends:
            os.mkfifo(end, 0o600)
        descriptors = [os.open(end, os.O_RDWR) for end in ends]
        command = command or [sys.executable, "-I", "-S", str(ECHO), "--stdio"]
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(command, stdin=descriptors[0], stdout=descriptors[1], stderr=errors)
        for descriptor in descriptors:
            os.close(descriptor)

    def route(
        self,
        port: int,
        middleware: tuple[MiddlewareConfig, ...] = (),
        *,
        start_timeout: float = 60.0,
        request_timeout: float = 300.0,
    ) -> Route:
        """Return the route to this server."""
        return Route(
            workload=self.name,
            incarnation=f"{self.name}.{self.generation}",
            port=port,
            stdin=str(self.folder / "stdin"),
            stdout=str(self.folder / "stdout"),
            lock=str(self.folder / "lock"),
            log=str(self.folder / "proxy.log"),
            middleware=middleware,
            start_timeout=start_timeout,
            request_timeout=request_timeout,
        )

    def stop(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait()


class RunningGateway:
    """A gateway in a process of its own, in its private folder; started again it is the successor of the first."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._command = list(command)
        self.process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    def start(self) -> Self:
        """Start a process, while its predecessor may still be dying."""
        ours, theirs = os.pipe()
        self.process = subprocess.Popen([*self._command, str(self.folder), str(ours)], pass_fds=[ours])
        os.close(ours)
        self.cut_lifeline()
        self._lifeline = theirs
        return self

    def kill(self) -> None:
        """Kill the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def cut_lifeline(self) -> None:
        """Let the lifeline reach end-of-file, as when the supervisor dies."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._lifeline = -1

    def ended(self, within: float = SECONDS) -> int:
        """Wait for the end of the process and return its exit code."""
        assert self.process is not None
        return self.process.wait(within)

    def write(self, *routes: Route, outlets: Sequence[str] = ()) -> None:
        """Write the snapshot, and tell nobody."""
        draft = self.folder / "routes.draft"
        draft.write_bytes(encode_document(RouteSnapshot(routes=routes, outlets=tuple(outlets))))
        draft.replace(self.folder / ROUTES_FILE)

    def serve(self, *routes: Route, outlets: Sequence[str] = ()) -> None:
        """Write the snapshot and, when the gateway runs, order a reload."""
        self.write(*routes, outlets=outlets)
        if self.process is not None:
            self.order(Order.RELOAD)

    def order(self, order: Order) -> None:
        """Send one command."""
        with self.connected() as channel:
            channel.sendall(encode_document(GatewayCommand(order=order)) + b"\n")
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(65536):
                pass

    def until(self, state: RouteState, incarnation: str) -> RouteReport:
        """Wait until an incarnation is reported in a state."""
        return self.until_reported(incarnation, lambda report: report.state is state)

    def until_quiet(self, incarnation: str) -> RouteReport:
        """Wait until it is reported that no request of a client is in flight to an incarnation."""
        return self.until_reported(incarnation, lambda report: report.quiet)

    def until_reported(self, incarnation: str, wanted: Callable[[RouteReport], bool]) -> RouteReport:
        """Wait for a report of an incarnation that is as wanted."""
        with self.connected() as channel, channel.makefile("rb") as lines:
            for line in lines:
                report = decode_document(line, RouteReport, "a report")
                if report.incarnation == incarnation and wanted(report):
                    return report
        raise AssertionError(f"the gateway hung up before {incarnation} was reported as it should be")

    @contextlib.contextmanager
    def connected(self, name: str = GATEWAY_SOCKET, kind: int = socket.SOCK_STREAM) -> Generator[socket.socket]:
        """Connect to a socket in its folder, however long the path is."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            channel = eventually(lambda: _connection(f"/proc/self/fd/{descriptor}/{name}", kind))
            assert channel is not None
            with channel:
                yield channel
        finally:
            os.close(descriptor)


class McpClient:
    """A small MCP client of the handshake era on one connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.session = ""
        self._number = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def send(self, method: str, body: bytes | Json | None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one HTTP request; underscores in header names stand for dashes."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        fields = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        fields |= {"mcp-session-id": self.session} if self.session else {}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, "/mcp", data, fields)
        response = self._connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def initialize(self, version: str = "2025-11-25", **capabilities: Json) -> Json:
        """Open a session and return the server's result."""
        info = {"name": "testkit", "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": info}
        status, headers, body = self.send("POST", self._request("initialize", params))
        assert status == 200, body
        self.session = headers["mcp-session-id"]
        notification = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert self.send("POST", notification)[0] == 202
        result: Json = json.loads(body)["result"]
        return result

    def tool(self, name: str, /, **arguments: object) -> Json:
        """Call a tool and return its result; it must be the first thing that comes back."""
        params = {"name": name, "arguments": arguments}
        status, _, body = self.send("POST", self._request("tools/call", params))
        assert status == 200, body
        result: Json = json.loads(body)["result"]
        return result

    def count(self) -> tuple[int, int]:
        """Return how often the server has counted, now included, and its pid."""
        counted = self.tool("count")["structuredContent"]
        return int(counted["count"]), int(counted["pid"])

    def _request(self, method: str, params: Json) -> Json:
        self._number += 1
        return {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}


def _connection(path: str, kind: int) -> socket.socket | None:
    channel = socket.socket(socket.AF_UNIX, kind)
    channel.settimeout(SECONDS)
    try:
        channel.connect(path)
    except OSError:
        channel.close()
        return None
    return channel


def listens(port: int) -> bool:
    """Tell whether anybody listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
