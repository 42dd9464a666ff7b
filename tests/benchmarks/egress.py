"""What the way out costs a server: latency of a connection and throughput of one, beside the same without isolation.

Run it as root with the Python of the environment in which thv is installed; it needs the package index once:

    PYTHONPATH=tests python tests/benchmarks/egress.py [--connections 300] [--megabytes 2000] [--rounds 3]

The load runs in a sandbox on the machine of the tests' own network, and directly on that machine; rounds alternate.
All hosts of that network share this computer. The exit code is 1 when a figure misses its budget.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from harness.clients import python
from harness.home import Thv
from harness.lab import EXAMPLE, Lab
from harness.users import user_of
from harness.wheels import wheel

MOST_ADDED, LEAST_RATE = 1.0, 1.0
RUN = "uvx://prober-mcp@1.0"
PROBER = Path(__file__).parents[1] / "harness/prober.py"

LATENCY = """
import socket, statistics, sys, time
host, count = sys.argv[1], int(sys.argv[2])
address = socket.gethostbyname(host)
taken = []
for _ in range(count):
    began = time.perf_counter()
    with socket.create_connection((address, 80)) as there:
        there.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        there.recv(100)
        taken.append(time.perf_counter() - began)
print(statistics.median(taken) * 1000)
"""
RATE = """
import socket, sys, time
host, count = sys.argv[1], int(sys.argv[2])
with socket.create_connection((host, 80)) as there:
    there.sendall(b"GET /bytes?count=%d HTTP/1.0\\r\\n\\r\\n" % count)
    room, got, began = bytearray(1 << 20), 0, time.perf_counter()
    while more := there.recv_into(room):
        got += more
assert got > count, got
print(got * 8 / (time.perf_counter() - began) / 1e9)
"""


def inside(thv: Thv, program: str, *arguments: str) -> float:
    """Run a program in the sandbox and return the number that it prints."""
    found = json.loads(thv.call("load", "run", argv=python(program, *arguments), seconds=100))
    assert found["code"] == 0, found
    return float(found["out"])


def outside(lab: Lab, program: str, *arguments: str) -> float:
    """Run a program on the machine itself and return the number that it prints."""
    return float(lab.machine.run(sys.executable, "-c", program, *arguments))


def measured(thv: Thv, lab: Lab, options: argparse.Namespace) -> tuple[float, float]:
    """Print the figures and return the added milliseconds and the Gbit/s."""
    taken: dict[str, list[float]] = {"latency": [], "direct latency": [], "rate": [], "direct rate": []}
    many, much = str(options.connections), str(options.megabytes * 1_000_000)
    for _ in range(options.rounds):
        taken["latency"].append(inside(thv, LATENCY, "example.test", many))
        taken["direct latency"].append(outside(lab, LATENCY, EXAMPLE, many))
        taken["rate"].append(inside(thv, RATE, "example.test", much))
        taken["direct rate"].append(outside(lab, RATE, EXAMPLE, much))
    middle = {name: statistics.median(each) for name, each in taken.items()}
    added = middle["latency"] - middle["direct latency"]
    print(f"latency  {middle['latency']:.2f} ms at p50, direct {middle['direct latency']:.2f} ms")
    print(f"         {added:.2f} ms are added (budget {MOST_ADDED:g})")
    print(f"rate     {middle['rate']:.2f} Gbit/s through one connection (budget {LEAST_RATE:g})")
    print(f"         direct {middle['direct rate']:.2f} Gbit/s")
    return added, middle["rate"]


def prepared(user_thv: Thv) -> None:
    """Prepare the package of the load where the package index is."""
    try:
        user_thv.ok("run", RUN, "--name", "prepared")
        user_thv.ok("rm", "prepared")
    finally:
        user_thv.close()


def main() -> int:
    """Measure in a home and a network of their own, and say whether the budgets hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thv-bench-") as name, user_of("ordinary") as user:
        folder = Path(name)
        folder.chmod(0o755)
        wheel(folder, "prober-mcp", {"prober_mcp.py": PROBER.read_text()}, {"prober-mcp": "prober_mcp:main"})
        prepared(user.thv(folder))
        lab = Lab(folder)
        thv = user.thv(folder, *lab.machine.prefix)
        try:
            thv.ok("run", RUN, "--name", "load", "--allow-network", "example.test")
            added, rate = measured(thv, lab, options)
        finally:
            thv.close()
            lab.close()
    return 0 if added <= MOST_ADDED and rate >= LEAST_RATE else 1


if __name__ == "__main__":
    sys.exit(main())
