"""What the egress adds to a connection, and how much flows through one.

Run it with the Python of the environment in which thv is installed:

    python tests/benchmarks/egress_throughput.py [--connections 500] [--seconds 3] [--rounds 3]

Three processes share this machine and speak over loopback: a host, the egress, and this one, which is the server that
reaches out. Nothing is sandboxed: the pool is a part of loopback. Latency is that of a whole connection: connect, one
byte there and back, close. The exit code is 1 when the best round misses a target.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from thv_core.spi import MadeSocket, Network, Outbound, Outlet, SocketKind
from thv_egress.driver import NameEgress
from thv_egress.names import PoolNames
from thv_egress.resolving import Resolver
from thv_egress.settings import Settings

GIGABITS, ADDED = 1.0, 0.001
NAME, INCARNATION, POOL = "host.test", "bench.1", "127.200.0.0/16"
PING, PULL, PUSH = b"1", b"2", b"3"
CHUNK = 1 << 18
TICKS = os.sysconf("SC_CLK_TCK")


def listening(address: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(512)
    return sock


def host(ready: Connection) -> None:
    """Answer each connection as its first byte asks: send it back, or send, or take, until the client ends."""
    listener = listening("127.0.0.1", 0)
    ready.send(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        order = client.recv(1)
        if order == PING:
            client.sendall(order)
            client.close()
        else:
            threading.Thread(target=pull if order == PULL else push, args=(client,), daemon=True).start()


def pull(client: socket.socket) -> None:
    block = bytes(CHUNK)
    try:
        while True:
            client.sendall(block)
    except OSError:
        client.close()


def push(client: socket.socket) -> None:
    block = bytearray(CHUNK)
    while client.recv_into(block):
        pass
    client.close()


def egress(ready: Connection, port: int, state: str) -> None:
    """Serve one outlet on the loop that the gateway has."""

    async def resolve(name: str) -> Sequence[str]:
        return ["127.0.0.1"]

    async def serve() -> None:
        settings = Settings(pool=POOL)
        driver = NameEgress(settings, Path(state), Resolver(resolve))
        (Path(state) / "names").mkdir()
        address = PoolNames(ipaddress.IPv4Network(POOL), Path(state) / "names" / INCARNATION).address(NAME)
        network = Network(outbound=Outbound(allow_host=(f"{NAME}:{port}", f"127.0.0.1:{port}")))
        sockets = ((MadeSocket(kind=SocketKind.PORT, port=port), listening(address, port)),)
        driver.open(Outlet("bench", INCARNATION, network, driver.plan(network), sockets))
        ready.send(address)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


def latencies(addresses: Sequence[str], port: int, connections: int) -> list[float]:
    """Return the median seconds of a connection to each address, asked in turns."""
    taken: list[list[float]] = [[] for _ in addresses]
    for _ in range(connections):
        for address, times in zip(addresses, taken, strict=True):
            begin = time.perf_counter()
            with socket.create_connection((address, port)) as client:
                client.sendall(PING)
                assert client.recv(1) == PING
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in taken]


def flow(address: str, port: int, order: bytes, seconds: float) -> float:
    """Return the gigabits per second of one connection in one direction."""
    block = bytearray(CHUNK)
    moved = 0
    with socket.create_connection((address, port)) as client:
        client.sendall(order)
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            moved += client.recv_into(block) if order == PULL else client.send(block)
        return moved * 8 / 1e9 / (time.perf_counter() - begin)


def processor(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def compare(address: str, port: int, pid: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Run one round; return the added latency and the gigabits per second of the slower direction."""
    direct, through = latencies(["127.0.0.1", address], port, arguments.connections)
    print(f"connection p50: direct {direct * 1e3:.2f} ms, through {through * 1e3:.2f} ms", end="")
    print(f", added {(through - direct) * 1e3:.2f} ms")
    flows: list[float] = []
    for words, order in (("to the server", PULL), ("to the host", PUSH)):
        bare = flow("127.0.0.1", port, order, arguments.seconds)
        before = processor(pid)
        flows.append(flow(address, port, order, arguments.seconds))
        cost = (processor(pid) - before) / (flows[-1] * arguments.seconds)
        print(f"{words}: direct {bare:.1f} Gbit/s, through {flows[-1]:.1f} Gbit/s, {cost:.2f} CPU s for each Gbit")
    return through - direct, min(flows)


def main() -> int:
    """Measure, print, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=500, help="connections of each kind in a round")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long bytes flow in each direction")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    forked = multiprocessing.get_context("fork")
    ours, theirs = forked.Pipe()
    with tempfile.TemporaryDirectory() as state:
        forked.Process(target=host, args=(theirs,), daemon=True).start()
        port = ours.recv()
        serving = forked.Process(target=egress, args=(theirs, port, state), daemon=True)
        serving.start()
        address = ours.recv()
        rounds = [compare(address, port, serving.pid or 0, arguments) for _ in range(arguments.rounds)]
        serving.terminate()
    added, gigabits = min(each[0] for each in rounds), max(each[1] for each in rounds)
    print(f"best: {added * 1e3:.2f} ms added (target {ADDED * 1e3:g}), {gigabits:.1f} Gbit/s (target {GIGABITS:g})")
    return 0 if added <= ADDED and gigabits >= GIGABITS else 1


if __name__ == "__main__":
    sys.exit(main())
