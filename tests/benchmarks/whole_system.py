"""What the whole system costs: start of a prepared package, ``thv list``, memory and processes.

Run it with the Python of the environment in which thv is installed; it needs the package index once:

    PYTHONPATH=tests python tests/benchmarks/whole_system.py [--workloads 20] [--runs 9]

Rounds are interleaved, so that a busy machine slows all rows alike. ``bare`` starts the same prepared root without
sandbox and gateway, from start to its answer to ``initialize``; ``gateway`` is from the request to control until a new
client's ``initialize`` was answered over HTTP; ``egress`` is the same for a server that may reach a host.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from harness.home import Thv

from thv_core.spi import Finished, Job, PackageSpec, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_supervisor.client import ControlClient

PACKAGE = "uvx://mcp-server-time"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
}


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def bare(command: tuple[str, ...], environment: dict[str, str]) -> None:
    """Start a server and wait for its answer to ``initialize``."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        assert "result" in json.loads(server.stdout.readline())
        server.kill()


def through_gateway(client: ControlClient, server: str, name: str, reach: tuple[str, ...] = ()) -> None:
    """Run a workload that may reach these hosts, and wait until ``initialize`` is answered at its URL."""
    request = {"request_id": str(uuid.uuid4()), "server": server, "name": name, "allow_network": reach}
    (ready,) = [each["ready"] for each in client.story("POST", "/api/v1beta/runs", request) if "ready" in each]
    connection = http.client.HTTPConnection(urlsplit(ready["url"]).netloc)
    accept = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    connection.request("POST", "/mcp", json.dumps(INITIALIZE), accept)
    assert "result" in json.loads(connection.getresponse().read())
    connection.close()


class Closed:
    """A workshop for packages that are prepared already."""

    def run(self, job: Job) -> Finished:
        """Refuse."""
        raise AssertionError(f"{job.name} is not needed")


def pss(pid: int) -> float:
    """Return the proportional set size of a process in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def start_figures(thv: Thv, server: str, runs: int) -> None:
    """Print how long a prepared package takes bare and through the gateway."""
    client = ControlClient(thv.environment, print)
    name, _, version = server.removeprefix("uvx://").partition("@")
    surroundings = Surroundings(thv.home / "state", thv.home / "cache/plugins/uvx", dict(os.environ))
    builder = UvxBuilder.from_settings({}, surroundings)
    package = PackageSpec(scheme="uvx", name=name, version=version)
    root = builder.build(package, lambda progress: None, Closed())
    environment = {"PATH": os.defpath, "HOME": str(thv.home), **root.environment}
    kinds = {"gateway": (), "egress": ("example.com",)}
    taken: dict[str, list[float]] = {"bare": [], **{kind: [] for kind in kinds}}
    for number in range(runs + 1):
        taken["bare"].append(timed(lambda: bare(root.command, environment)))
        for kind, reach in kinds.items():
            started = f"{kind}{number}"
            taken[kind].append(timed(lambda name=started, to=reach: through_gateway(client, server, name, to)))
            client.call("DELETE", f"/api/v1beta/workloads/{started}")
    medians = {kind: statistics.median(each[1:]) for kind, each in taken.items()}
    print("start      " + ", ".join(f"{kind} {median * 1000:.0f} ms" for kind, median in medians.items()))
    for kind in kinds:
        print(f"           ratio of {kind} {medians[kind] / medians['bare']:.2f} (budget 1.25)")


def list_figures(thv: Thv, runs: int) -> None:
    """Print how long ``thv list`` takes as a multiple of importing click."""
    commands = {"click": [sys.executable, "-c", "import click"], "list": [thv.command, "list"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            taken[name].append(
                timed(lambda each=command: subprocess.run(each, env=thv.environment, capture_output=True, check=True))
            )
    medians = {name: statistics.median(each[1:]) for name, each in taken.items()}
    print(f"thv list   {medians['list'] * 1000:.0f} ms, import click {medians['click'] * 1000:.0f} ms")
    print(f"           ratio {medians['list'] / medians['click']:.2f} (budget 6)")


def ours(thv: Thv) -> set[int]:
    """Return the processes that run code of ours."""
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in thv.left_behind()}
    return {pid for pid, line in words.items() if b"thv_" in line}


def growth_figures(thv: Thv, server: str, workloads: int) -> None:
    """Run idle workloads that may reach out; print what each adds to the gateway, and the processes of ours."""
    gateway = thv.child("thv_supervisor.gateway_process")
    processes, memory = ours(thv), pss(gateway)
    for number in range(workloads - 1):
        thv.ok("run", server, "--name", f"idle{number}", "--allow-network", "example.com")
    time.sleep(3)
    print(f"gateway    {(pss(gateway) - memory) / (workloads - 1):.2f} MiB more for each workload (budget 1)")
    print(f"processes  {len(ours(thv)) - len(processes)} of ours more with {workloads} workloads (budget 0)")


def memory_figures(thv: Thv, workloads: int) -> None:
    """Print the proportional set size of the three processes."""
    processes = {
        "supervisor": thv.supervisor(),
        "control": thv.child("thv_supervisor.control"),
        "gateway": thv.child("thv_supervisor.gateway_process"),
    }
    sizes = {name: pss(pid) for name, pid in processes.items()}
    shown = ", ".join(f"{name} {size:.1f}" for name, size in sizes.items())
    print(f"memory     {sum(sizes.values()):.1f} MiB PSS with {workloads} workloads (budget 110): {shown}")


def main() -> None:
    """Run every measurement in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", type=int, default=20)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thv-bench-") as folder:
        thv = Thv(Path(folder) / "home", None)
        try:
            thv.ok("run", PACKAGE, "--name", "first")
            server = thv.view("first")["package"]
            start_figures(thv, server, options.runs)
            growth_figures(thv, server, options.workloads)
            list_figures(thv, options.runs)
            memory_figures(thv, options.workloads)
        finally:
            thv.close()


if __name__ == "__main__":
    main()
