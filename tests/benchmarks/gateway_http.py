"""What a request costs the gateway beside what it costs nginx, in one run, and what sessions and streams weigh.

Run it with the Python of the environment in which thv is installed; nginx (``nginx-light``) and ``wrk`` come from the
system:

    python tests/benchmarks/gateway_http.py [--seconds 4] [--rounds 3] [--only ROW ...]

Upstream and load share the first core, whatever is measured has the second. The rows of a round follow each other, and
the best of the rounds is shown: compare ratios within one run, other figures are those of the machine. The exit code is
1 on any error, or when a figure misses its aim.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gateway_http_parts import UPSTREAM, Figures, loaded, nginx, peak_mib, pin, processes, pss_mib, running

from thv_core.model.route import Route, RouteState
from thv_testkit.gateways import McpClient, RunningGateway, RunningServer, free_port, serve_command
from thv_testkit.waiting import eventually

MOST_TIMES_NGINX = 3.0
LEAST_STDIO = 8000.0
MOST_ADDED_MS = 0.1
MOST_SESSIONS_MIB = 60.0
MOST_STREAMS_MIB = 50.0
MOST_BODY_MIB = 12.0
MOST_GROWTH = 1.15
"""So many times the CPU of one process may be used for a request by two together."""

TWO = "2 processes"
SESSIONS = 10_000
STREAMS = 1_000
BODY = 5 * 1024 * 1024


@dataclass(frozen=True)
class Row:
    """One thing that is measured: ``beside`` names the row of nginx that it is compared with."""

    name: str
    url: str
    pid: int
    session: str = ""
    beside: str = ""


def to_upstream(folder: Path, upstream: int, name: str) -> Route:
    """Return a route to the upstream."""
    return Route(
        workload=name,
        incarnation=f"{name}.1",
        port=free_port(),
        target_url=f"http://127.0.0.1:{upstream}/{name}",
        log=str(folder / "http.log"),
        transport="streamable-http",
    )


@contextlib.contextmanager
def two_processes(folder: Path, upstream: int) -> Iterator[tuple[int, Route]]:
    """Run a gateway of two processes before the upstream."""
    command = serve_command("thv_gateway.gateway:HttpGateway", workers=2)
    running_gateway = RunningGateway(command, folder / "two-processes")
    route = to_upstream(folder, upstream, "json")
    try:
        running_gateway.serve(route)
        running_gateway.start()
        running_gateway.until(RouteState.READY, route.incarnation)
        assert running_gateway.process is not None
        eventually(lambda: len(processes(running_gateway.process.pid)) > 2)
        pin(running_gateway.process.pid, 1)
        yield running_gateway.process.pid, route
    finally:
        running_gateway.cut_lifeline()
        running_gateway.kill()


@contextlib.contextmanager
def gateway(folder: Path, upstream: int) -> Iterator[tuple[RunningGateway, list[Route], RunningServer]]:
    """Run one gateway before the upstream, twice, and before a server on pipes."""
    server = RunningServer(folder)
    running_gateway = RunningGateway(serve_command("thv_gateway.gateway:HttpGateway"), folder / "gateway")
    routes = [*(to_upstream(folder, upstream, name) for name in ("json", "sse")), server.route(free_port())]
    try:
        running_gateway.serve(*routes)
        running_gateway.start()
        for route in routes:
            running_gateway.until(RouteState.READY, route.incarnation)
        assert running_gateway.process is not None
        pin(running_gateway.process.pid, 1)
        pin(server.process.pid, 0)
        yield running_gateway, routes, server
    finally:
        running_gateway.cut_lifeline()
        running_gateway.kill()
        server.stop()


def session_of(route: Route) -> str:
    """Open a session and return its id."""
    client = McpClient(route.port)
    client.initialize()
    client.close()
    return client.session


def measured(rows: list[Row], folder: Path, options: argparse.Namespace) -> dict[str, tuple[Figures, Figures]]:
    """Load every row in turns; return the best figures at 64 connections and at one."""
    best: dict[str, tuple[Figures, Figures]] = {}
    for _ in range(options.rounds):
        for row in rows:
            many = loaded(row.url, row.pid, folder, 64, options.seconds, row.session)
            one = loaded(row.url, row.pid, folder, 1, max(1.0, options.seconds / 2), row.session)
            known = best.get(row.name)
            if known is not None:
                many, one = (
                    min(known[0], many, key=lambda each: each.cpu),
                    min(known[1], one, key=lambda each: each.p50),
                )
            best[row.name] = many, one
    return best


def show(rows: list[Row], best: dict[str, tuple[Figures, Figures]]) -> list[str]:
    """Print the table, and return what misses its aim."""
    titles = ("CPU us", "x nginx", "req/s", "p50 ms", "p99 ms", "p50 (1)", "p99 (1)", "PSS MiB")
    print(f"{'':<16}" + "".join(f"{title:>9}" for title in titles))
    missed: list[str] = []
    for row in rows:
        many, one = best[row.name]
        beside = best.get(row.beside)
        times = many.cpu / beside[0].cpu if beside else 1.0
        print(
            f"{row.name:<16}{many.cpu:>9.1f}{times:>9.2f}{many.rate:>9.0f}{many.p50:>9.2f}{many.p99:>9.2f}"
            f"{one.p50:>9.3f}{one.p99:>9.3f}{pss_mib(row.pid):>9.1f}"
        )
        if many.errors or one.errors:
            missed.append(f"{row.name}: {many.errors + one.errors} errors")
        if beside and times > MOST_TIMES_NGINX:
            missed.append(f"{row.name}: {times:.2f} times the CPU of nginx, at most {MOST_TIMES_NGINX:g}")
        if beside and one.p50 > beside[1].p50 + MOST_ADDED_MS:
            missed.append(f"{row.name}: p50 {one.p50 - beside[1].p50:.3f} ms above nginx, at most {MOST_ADDED_MS:g}")
        if row.name == TWO and "gateway json" in best and many.cpu > best["gateway json"][0].cpu * MOST_GROWTH:
            missed.append(f"{row.name}: {many.cpu:.1f} us, at most {MOST_GROWTH:g} times those of one process")
        if row.name == "gateway stdio" and many.rate < LEAST_STDIO:
            missed.append(f"stdio: {many.rate:.0f} requests/s, at least {LEAST_STDIO:g}")
    return missed


async def exchanged(
    port: int, head: str, body: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Send one request on a connection of its own, and return that with the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.format(port=port, size=len(body)).encode() + body)
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


POST = (
    "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\naccept: application/json,"
    " text/event-stream\r\n%scontent-length: {size}\r\n\r\n"
)


async def open_sessions(port: int, count: int) -> None:
    """Open sessions one after the other on a few connections that are closed again."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()

    async def some() -> None:
        for _ in range(count // 8):
            _, writer, head = await exchanged(port, POST % "", body)
            assert b"mcp-session-id" in head, head
            writer.close()

    await asyncio.gather(*(some() for _ in range(8)))


async def held_streams(port: int, session: str, count: int, pid: int) -> float:
    """Return the memory of a process while so many streams are open."""
    head = (
        "GET /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: text/event-stream\r\n"
        f"mcp-session-id: {session}\r\n\r\n"
    )
    held = [await exchanged(port, head) for _ in range(count)]
    refused = [answer for _, _, answer in held if b" 200 " not in answer]
    assert not refused, refused[0]
    weight = pss_mib(pid)
    for _, writer, _ in held:
        writer.close()
    return weight


async def sent_large(port: int, session: str) -> None:
    """Send a call with a large argument."""
    text = "x" * BODY
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": text}}}
    )
    _, writer, head = await exchanged(port, POST % f"mcp-session-id: {session}\r\n", body.encode())
    assert b" 200 " in head, head
    writer.close()


def weighed(routes: list[Route], sessions: dict[str, str], pid: int) -> list[str]:
    """Print what sessions, streams and a large body cost in memory, and return what misses its aim."""
    http, _, stdio = routes
    before = peak_mib(pid, forget=True)
    asyncio.run(sent_large(http.port, sessions["json"]))
    body = peak_mib(pid) - before
    before = pss_mib(pid)
    streams = asyncio.run(held_streams(http.port, sessions["json"], STREAMS, pid)) - before
    before = pss_mib(pid)
    asyncio.run(open_sessions(stdio.port, SESSIONS))
    idle = pss_mib(pid) - before
    figures = [
        (f"a body of {BODY >> 20} MiB, growth of the peak", body, MOST_BODY_MIB),
        (f"{STREAMS} open SSE streams", streams, MOST_STREAMS_MIB),
        (f"{SESSIONS} idle sessions", idle, MOST_SESSIONS_MIB),
    ]
    for name, found, most in figures:
        print(f"{name:<44}{found:>7.1f} MiB, at most {most:g}")
    return [f"{name}: {found:.1f} MiB, at most {most:g}" for name, found, most in figures if found > most]


def main() -> int:
    """Start everything, measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="rows to be measured, such as 'gateway json'")
    parser.add_argument("--no-memory", action="store_true", help="weigh nothing")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing: install it (apt-get install wrk nginx-light)")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        missed = run(Path(name), stack, options)
    for line in missed:
        print(f"MISSED  {line}")
    return 1 if missed else 0


def run(folder: Path, stack: contextlib.ExitStack, options: argparse.Namespace) -> list[str]:
    """Return what misses its aim."""
    upstream = free_port()
    stack.enter_context(running([sys.executable, "-c", UPSTREAM, str(upstream)], 0))
    rows: list[Row] = []
    for name, buffering in (("json", True), ("sse", False)):
        port = free_port()
        command = nginx(folder, port, upstream, buffering=buffering)
        if command is None:
            print("nginx is missing: install it (apt-get install nginx-light); nothing is compared")
            if os.environ.get("CI"):
                return ["nginx is missing"]
            continue
        pid = stack.enter_context(running(command, 1))
        rows.append(Row(f"nginx {name}", f"http://127.0.0.1:{port}/{name}", pid, "s"))
    running_gateway, routes, _ = stack.enter_context(gateway(folder, upstream))
    assert running_gateway.process is not None
    pid = running_gateway.process.pid
    sessions = {route.workload: session_of(route) for route in routes}
    names = {"json": "gateway json", "sse": "gateway sse", "echo": "gateway stdio"}
    for route in routes:
        beside = f"nginx {route.workload}" if len(rows) > 1 and route.workload != "echo" else ""
        rows.append(
            Row(names[route.workload], f"http://127.0.0.1:{route.port}/mcp", pid, sessions[route.workload], beside)
        )
    several, route = stack.enter_context(two_processes(folder, upstream))
    rows.append(Row(TWO, f"http://127.0.0.1:{route.port}/mcp", several, session_of(route)))
    rows = [row for row in rows if not options.only or row.name in options.only]
    missed = show(rows, measured(rows, folder, options))
    return missed if options.no_memory else missed + weighed(routes, sessions, pid)


if __name__ == "__main__":
    sys.exit(main())
