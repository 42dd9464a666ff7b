from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thv_core.model.route import RouteState
from thv_core.spi import MiddlewareConfig
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

PROGRAMS = Path(__file__).parent / "programs"

ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


class Stream:
    """One request whose answer is read event by event."""

    def __init__(self, client: McpClient, method: str, body: dict[str, Any] | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        data = json.dumps(body).encode() if body else None
        self.connection.request(method, "/mcp", data, ACCEPT | {"mcp-session-id": client.session})
        self.response: http.client.HTTPResponse | None = None

    def begin(self) -> str:
        """Wait for the head of the answer and return its media type."""
        self.response = self.response or self.connection.getresponse()
        return self.response.headers["content-type"]

    def message(self) -> dict[str, Any]:
        """Return the next message: of an event, or the whole body."""
        if self.begin() == "application/json":
            return json.loads(self.response.read())
        for line in self.response:
            if line.startswith(b"data: "):
                return json.loads(line[6:])
        raise EOFError

    def at_end(self) -> bool:
        """Tell whether the answer ends without another event."""
        self.begin()
        return not any(line.startswith(b"data: ") for line in self.response)


StartServer = Callable[..., RunningServer]
Connect = Callable[..., McpClient]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway(serve_command("thv_gateway.gateway:AsgiGateway"), tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


@pytest.fixture
def staged_gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    gateway = RunningGateway([sys.executable, str(PROGRAMS / "serve_with_stages.py")], tmp_path / "gateway")
    yield gateway
    gateway.cut_lifeline()
    gateway.kill()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    running: list[RunningServer] = []

    def start(program: str = "", script: dict[str, Any] | None = None, **options: Any) -> RunningServer:
        command = [sys.executable, str(PROGRAMS / program)] if program else []
        if script is not None:
            command.append(json.dumps(script))
        running.append(RunningServer(tmp_path / "servers", command, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[McpClient] = []

    def serve_and_connect(
        gateway: RunningGateway, server: RunningServer, *middleware: MiddlewareConfig, **seconds: float
    ) -> McpClient:
        client = McpClient(free_port())
        clients.append(client)
        if gateway.process is None:
            gateway.start()
        gateway.serve(server.route(client.port, middleware, **seconds))
        gateway.until(RouteState.READY, f"{server.name}.{server.generation}")
        client.initialize()
        return client

    yield serve_and_connect
    for client in clients:
        client.close()


@pytest.fixture
def another() -> Iterator[Callable[[McpClient], McpClient]]:
    """Open another session at the gateway of a client."""
    clients: list[McpClient] = []

    def open_session(client: McpClient, **capabilities: Any) -> McpClient:
        clients.append(McpClient(client.port))
        clients[-1].initialize(**capabilities)
        return clients[-1]

    yield open_session
    for client in clients:
        client.close()


@pytest.fixture
def stream() -> Iterator[Callable[..., Stream]]:
    """Open requests whose answers are read event by event."""
    streams: list[Stream] = []

    def open_stream(client: McpClient, method: str = "GET", body: dict[str, Any] | None = None) -> Stream:
        streams.append(Stream(client, method, body))
        return streams[-1]

    yield open_stream
    for each in streams:
        each.connection.close()
        if each.response is not None:
            each.response.close()
