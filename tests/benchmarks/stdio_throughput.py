"""How many tool calls a second pass through the gateway to one stdio server, and what each costs.

Run it with the Python of the environment in which thv is installed:

    python tests/benchmarks/stdio_throughput.py [--connections 32] [--seconds 5] [--rounds 3]

The load, the gateway and a Python echo server share this machine. The exit code is 1 on any error, or when the best
round misses the target.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httptools
import uvloop

from thv_core.model.route import RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command

TARGET = 4000.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Tally:
    """What happened in one round; latencies are seconds."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    running: bool = True


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends the next call when the last one was answered."""

    def __init__(self, head: bytes, first: int, tally: Tally, done: asyncio.Future[None]) -> None:
        self.head, self.number, self.tally, self.done = head, first, tally, done
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.call()

    def call(self) -> None:
        self.number += 1
        text = f"hello {self.number:09d} " + "x" * 100
        body = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%s"}}}'
        data = body % (self.number, text.encode())
        self.expected = b'"hello %09d ' % self.number
        self.body = b""
        self.sent = time.perf_counter()
        self.transport.write(self.head % len(data) + data)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.tally.latencies.append(time.perf_counter() - self.sent)
        wanted = b'"id":%d,' % self.number
        if self.parser.get_status_code() != 200 or self.expected not in self.body or wanted not in self.body:
            self.tally.errors += 1
        if self.tally.running:
            self.call()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.tally.running:
            self.tally.errors += 1
        if not self.done.done():
            self.done.set_result(None)


async def load(client: McpClient, connections: int, seconds: float) -> Tally:
    """Keep so many connections busy for so long."""
    loop = asyncio.get_running_loop()
    head = (
        f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{client.port}\r\ncontent-type: application/json\r\n"
        f"accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n"
        f"mcp-session-id: {client.session}\r\ncontent-length: %d\r\n\r\n"
    ).encode()
    tally = Tally()
    done = [loop.create_future() for _ in range(connections)]
    for index, each in enumerate(done):
        caller = Caller(head, index * 10_000_000, tally, each)
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", client.port)
    await asyncio.sleep(seconds)
    tally.running = False
    await asyncio.wait_for(asyncio.gather(*done), 30)
    return tally


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measured(client: McpClient, pids: tuple[int, int], options: argparse.Namespace) -> tuple[float, Tally]:
    """Run one round, print its figures and return its rate."""
    before = [cpu_seconds(pid) for pid in pids]
    began = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        tally = runner.run(load(client, options.connections, options.seconds))
    rate = len(tally.latencies) / (time.perf_counter() - began)
    spent = [(cpu_seconds(pid) - start) / len(tally.latencies) * 1e6 for pid, start in zip(pids, before, strict=True)]
    cuts = statistics.quantiles(tally.latencies, n=100)
    print(
        f"{rate:>8.0f} calls/s   p50 {cuts[49] * 1000:>6.2f} ms   p99 {cuts[98] * 1000:>6.2f} ms   "
        f"CPU per call: gateway {spent[0]:>4.0f} us, server {spent[1]:>4.0f} us   errors {tally.errors}"
    )
    return rate, tally


def main() -> int:
    """Start a server and a gateway, measure, and say whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder))
        gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), Path(folder, "gateway"))
        try:
            client = McpClient(free_port())
            gateway.serve(server.route(client.port))
            gateway.start().until(RouteState.READY, "echo.1")
            client.initialize()
            assert gateway.process is not None
            pids = (gateway.process.pid, server.process.pid)
            results = [measured(client, pids, options) for _ in range(options.rounds)]
            client.close()
        finally:
            gateway.cut_lifeline()
            gateway.kill()
            server.stop()
    errors = sum(tally.errors for _, tally in results)
    best = max(rate for rate, _ in results)
    print(f"best {best:.0f} calls/s, target {TARGET:.0f}, errors {errors}")
    return 0 if best >= TARGET and not errors else 1


if __name__ == "__main__":
    sys.exit(main())
