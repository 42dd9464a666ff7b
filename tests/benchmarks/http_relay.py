"""What a tool call costs the gateway when the server speaks HTTP, beside what it costs over pipes, in one run.

Run it with the Python of the environment in which thv is installed:

    python tests/benchmarks/http_relay.py [--connections 32] [--seconds 5] [--rounds 3]

The load, the gateway and the servers share this machine. The HTTP server is a small one on httptools, so that the
gateway is what is measured. The exit code is 1 on any error, or when a relayed call costs the gateway more than twice
what one over pipes does.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from thv_core.model.document import encode_document
from thv_core.model.network import Handover, MadeSocket, OutletPlan, SocketKind
from thv_core.model.route import Order, Route, RouteSnapshot, RouteState
from thv_core.spi import Network
from thv_core.spi.gateways import NETWORK_SOCKET, ROUTES_FILE
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

MOST = 2.0
CONNECTORS = 64

SERVER = """
import asyncio, json, sys
import httptools, uvloop

HEAD = (
    b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\n"
    b"mcp-session-id: s\\r\\ncontent-length: %d\\r\\n\\r\\n"
)


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser, self.body = transport, httptools.HttpRequestParser(self), b""

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        body, self.body = self.body, b""
        message = json.loads(body or b"{}")
        self.transport.write(answer(message))


def answer(message):
    if "id" not in message:
        return b"HTTP/1.1 202 Accepted\\r\\ncontent-length: 0\\r\\n\\r\\n"
    if message["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": "echo"}]}
    else:
        result = {"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}
    data = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}, separators=(",", ":")).encode()
    return HEAD % len(data) + data


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", int(sys.argv[1]))
    print("listening", flush=True)
    await server.serve_forever()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""


def stdio_benchmark() -> ModuleType:
    """Return the module beside this one, whose load both share."""
    specification = importlib.util.spec_from_file_location(
        "stdio_throughput", Path(__file__).with_name("stdio_throughput.py")
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["stdio_throughput"] = module
    specification.loader.exec_module(module)
    return module


@contextmanager
def http_server(port: int) -> Iterator[int]:
    """Run the HTTP server and give its pid."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def hand_over(folder: Path, incarnation: str) -> None:
    """Hand sockets over as control does."""
    made = tuple(MadeSocket(kind=SocketKind.CONNECTOR) for _ in range(CONNECTORS))
    handover = Handover(
        workload="http",
        incarnation=incarnation,
        network=Network(),
        plan=OutletPlan(connectors=CONNECTORS),
        sockets=made,
    )
    sockets = [socket.socket() for _ in made]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        channel.connect(str(folder / NETWORK_SOCKET))
        channel.recv(1 << 20)
        socket.send_fds(channel, [encode_document(handover)], [each.fileno() for each in sockets])
        channel.recv(1 << 20)
    for each in sockets:
        each.close()


def main() -> int:
    """Start both servers and one gateway, measure both in turns, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    benchmark = stdio_benchmark()
    with tempfile.TemporaryDirectory() as name:
        folder, target = Path(name), free_port()
        server = RunningServer(folder)
        gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
        http = Route(
            workload="http",
            incarnation="http.1",
            port=free_port(),
            log=str(folder / "http.log"),
            transport="streamable-http",
            target_port=target,
        )
        stdio = server.route(free_port())
        try:
            with http_server(target) as pid:
                snapshot = RouteSnapshot(routes=(stdio, http), outlets=("http.1",))
                (gateway.folder / ROUTES_FILE).write_bytes(encode_document(snapshot))
                gateway.start().order(Order.RELOAD)
                hand_over(gateway.folder, "http.1")
                costs = measured(benchmark, gateway, {stdio: server.process.pid, http: pid}, options)
        finally:
            gateway.cut_lifeline()
            gateway.kill()
            server.stop()
    share = costs["http"] / costs["echo"]
    print(f"a relayed call costs the gateway {share:.2f} times one over pipes, at most {MOST:g}")
    return 0 if share <= MOST else 1


def measured(
    benchmark: ModuleType, gateway: RunningGateway, servers: dict[Route, int], options: argparse.Namespace
) -> dict[str, float]:
    """Measure each server in turns; return the least microseconds of the gateway for a call to it."""
    assert gateway.process is not None
    costs: dict[str, float] = {}
    for _ in range(options.rounds):
        for route, pid in servers.items():
            gateway.until(RouteState.READY, route.incarnation)
            client = McpClient(route.port)
            client.initialize()
            print(f"{route.transport:<16}", end="")
            before = benchmark.cpu_seconds(gateway.process.pid)
            _, tally = benchmark.measured(client, (gateway.process.pid, pid), options)
            client.close()
            if tally.errors:
                raise SystemExit(f"{tally.errors} errors")
            cost = (benchmark.cpu_seconds(gateway.process.pid) - before) / len(tally.latencies) * 1e6
            costs[route.workload] = min(cost, costs.get(route.workload, cost))
    return costs


if __name__ == "__main__":
    sys.exit(main())
