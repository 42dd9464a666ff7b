"""What many workloads cost: ``thv list``, the API, a round of reconciling, and the return after a kill of everything.

Run it with the Python of the environment in which thv is installed; it needs no network:

    PYTHONPATH=tests python tests/benchmarks/many_workloads.py [--live 50] [--all 200] [--runs 15]

``live`` servers run in their sandboxes; the others of ``all`` are stopped. Each figure has its budget beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.home import Thv, wait_for
from harness.killing import CONTROL, GATEWAY, kill_all
from harness.servers import offer
from harness.session import Session

from thv_core.model.run_config import RunConfig
from thv_core.model.status import Desired, Status
from thv_core.model.workload import Workload
from thv_core.state.files import connect_unix
from thv_core.state.store import StateStore
from thv_supervisor.control.keeping import IDLE

SERVER = "uvx://echo-mcp@1.0"
ROUNDS = 2


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def medians(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Return the median seconds of each call; the rounds are interleaved, and the first one does not count."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs + 1):
        for name, call in calls.items():
            taken[name].append(timed(call))
    return {name: statistics.median(each[1:]) for name, each in taken.items()}


def program(thv: Thv, *command: str) -> Callable[[], object]:
    """Return a call that runs a program."""
    return lambda: subprocess.run(command, env=thv.environment, capture_output=True, check=True)


def list_figures(thv: Thv, live: int, runs: int) -> None:
    """Print how long ``thv list`` takes as a multiple of importing click."""
    calls = {"click": program(thv, sys.executable, "-c", "import click"), "list": program(thv, thv.command, "list")}
    taken = medians(calls, runs)
    ratio = taken["list"] / taken["click"]
    print(f"thv list   {taken['list'] * 1000:.0f} ms with {live} workloads, {ratio:.2f} times import click (budget 6)")


def return_figures(thv: Thv, sessions: list[Session], runs: int) -> None:
    """Print how long it takes from a command after a kill of all three until every session was answered again."""
    taken: list[float] = []
    for _ in range(runs):
        # A second supervisor, which a command started and which waited for the lock, may step in once.
        while thv.supervisor():
            kill_all(thv)
            time.sleep(0.1)
        began = time.perf_counter()
        with subprocess.Popen([thv.command, "list"], env=thv.environment, stdout=subprocess.DEVNULL):
            for session in sessions:
                wait_for(session.count)
            taken.append(time.perf_counter() - began)
        wait_for(lambda: thv.child(GATEWAY))
    print(
        f"return     {statistics.median(taken):.2f} s until {len(sessions)} servers answer after a kill of all three, "
        f"{max(taken):.2f} s at most (budget 2)"
    )


def add_stopped(thv: Thv, count: int) -> None:
    """Remember workloads that are stopped."""
    thv.ok("serve", "--stop")
    store = StateStore(thv.home / "state/state.db")
    taken = set(store.remembered_ports().values())
    ports = (port for port in range(20000, 32000) if port not in taken)
    for number in range(count):
        name = f"stopped{number}"
        config = RunConfig(name=name, image=SERVER, port=next(ports), runtime="sandbox")
        store.add(
            Workload(
                name=name,
                config=config,
                request_id=name,
                desired=Desired.STOPPED,
                status=Status.STOPPED,
                provisional=False,
                generation=store.next_generation(),
                created_at=time.time(),
            )
        )
    store.close()
    thv.ok("list")


def api_figures(thv: Thv, count: int, runs: int) -> None:
    """Print how long the list of all workloads takes on one connection to the API."""
    connection = http.client.HTTPConnection("control")
    connection.sock = connect_unix(thv.home / "state/control.sock")
    sizes: list[int] = []

    def ask() -> None:
        connection.request("GET", "/api/v1beta/workloads?all=true")
        sizes.append(len(connection.getresponse().read()))

    taken = medians({"list": ask}, runs * 3)
    connection.close()
    print(f"API list   {taken['list'] * 1000:.1f} ms for {count} workloads, {sizes[-1] >> 10} KiB (budget 20 ms)")


def processor_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def rounds(thv: Thv) -> tuple[float, bool]:
    """Return the CPU seconds of control for each time that it looks at every workload, and whether it wrote."""
    pid = thv.child(CONTROL)
    with contextlib.closing(sqlite3.connect(f"file:{thv.home / 'state/state.db'}?mode=ro", uri=True)) as database:
        version = database.execute("PRAGMA data_version").fetchone()
        before = processor_seconds(pid)
        time.sleep(ROUNDS * IDLE)
        used = (processor_seconds(pid) - before) / ROUNDS
        return used, database.execute("PRAGMA data_version").fetchone() != version


def reconcile_figures(count: int, before: float, after: tuple[float, bool]) -> None:
    """Print what ``count`` workloads that were added cost control, beside what it uses to watch one that runs."""
    used, wrote = after
    print(
        f"reconcile  {(used - before) * 1000:.0f} ms of CPU in {IDLE:g} s for {count} unchanged workloads more, "
        f"each looked at once (budget 50), {'something' if wrote else 'nothing'} was written (budget nothing)"
    )
    print(f"           {before * 1000:.0f} ms of CPU to watch one server meanwhile")


def run(thv: Thv, number: int) -> str:
    """Run a server and return its URL."""
    return thv.ok("run", SERVER, "--name", f"live{number}").strip()


def main() -> None:
    """Run every measurement in a home of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--live", type=int, default=50)
    parser.add_argument("--all", type=int, default=200)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thv-bench-") as folder:
        wheels = Path(folder, "wheels")
        wheels.mkdir()
        offer(wheels)
        thv = Thv(Path(folder, "home"), wheels)
        try:
            # First, because watching many servers costs more, and less evenly, than what is measured here.
            urls = [run(thv, 0)]
            watching, _ = rounds(thv)
            add_stopped(thv, options.all - options.live)
            reconcile_figures(options.all - options.live, watching, rounds(thv))
            urls += [run(thv, number) for number in range(1, options.live)]
            list_figures(thv, options.live, options.runs)
            return_figures(thv, [Session(url) for url in urls], 5)
            api_figures(thv, options.all, options.runs)
        finally:
            thv.close()


if __name__ == "__main__":
    main()
