"""How long a prepared package takes from its start to its first answer, against a plain environment that uv made.

Run it with the Python of the environment in which thv is installed:

    python tests/benchmarks/package_start.py [--package mcp-server-time] [--runs 9]

Both are started bare, without sandbox and gateway; the rounds are interleaved, so that a busy machine slows both alike.
``plain`` is what uv installs by default: the first start of each module compiles it, so it is started once beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from uv import find_uv_bin

from thv_core.spi import Finished, Job, PackageRoot, PackageSpec, Progress, Surroundings
from thv_packages.pypi.builder import UvxBuilder
from thv_packages.pypi.source import UvxSource

RUNS = 9
PACKAGE = "mcp-server-time"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
}


def seconds_to_first_answer(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Start a server, initialize it, and return how long its answer took; the server is killed afterwards."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        took = time.perf_counter() - began
        server.kill()
    assert "serverInfo" in answer["result"], answer
    return took


def prepared(folder: Path, name: str) -> tuple[PackageSpec, PackageRoot]:
    """Prepare the newest version of a package as thv does, and print how long that took, the first and second time."""
    for each in ("state", "cache"):
        (folder / each).mkdir(mode=0o700)
    surroundings = Surroundings(folder / "state", folder / "cache", dict(os.environ))
    package = UvxSource.from_settings({}, surroundings).resolve(f"uvx://{name}").package
    builder = UvxBuilder.from_settings({}, surroundings)
    builder.build(package, show, Closed())
    return package, builder.build(package, show, Closed())


class Closed:
    """A workshop for packages of which nothing is run while they are prepared."""

    def run(self, job: Job) -> Finished:
        """Refuse."""
        raise AssertionError(f"{job.name} was to be run")


def show(progress: Progress) -> None:
    """Print a finished step."""
    if progress.seconds:
        print(f"{progress.step:<10} {progress.text:<45} {progress.seconds:8.3f} s")


def plain(folder: Path, package: PackageSpec) -> tuple[str, ...]:
    """Install the same version into a virtual environment with uv, and return the path of its script."""
    environment = folder / "plain"
    uv = [find_uv_bin(), "--quiet"]
    base = str(getattr(sys, "_base_executable", sys.executable))
    subprocess.run([*uv, "venv", "--python", base, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run([*uv, "pip", "install", "--python", python, f"{package.name}=={package.version}"], check=True)
    return (str(environment / "bin" / package.name),)


def main() -> None:
    """Prepare both, measure in turns, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", default=PACKAGE)
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thv-package-start-") as name:
        package, root = prepared(Path(name), options.package)
        bare = {"PATH": os.defpath, "HOME": name}
        starts = {"plain": (plain(Path(name), package), bare), "prepared": (root.command, {**bare, **root.environment})}
        for command, environment in starts.values():
            seconds_to_first_answer(command, environment)
        times = {kind: [] for kind in starts}
        for _ in range(options.runs):
            for kind, (command, environment) in starts.items():
                times[kind].append(seconds_to_first_answer(command, environment))
    medians = {kind: statistics.median(each) for kind, each in times.items()}
    for kind, median in medians.items():
        print(f"{kind:<10} {median * 1000:7.0f} ms median of {options.runs}, best {min(times[kind]) * 1000:.0f} ms")
    print(f"ratio      {medians['prepared'] / medians['plain']:7.2f} (prepared / plain)")


if __name__ == "__main__":
    main()
