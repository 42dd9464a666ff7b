"""kill -9 of any of the three processes, or of all, at random instants: nothing is lost, doubled or orphaned.

``THV_CHAOS_ROUNDS`` sets how many rounds each form runs; the long form of ``tox -e chaos`` runs 100.
"""

import json
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from harness.census import first_processes
from harness.home import Thv, wait_for
from harness.killing import KILLS, kill_all, kill_supervisor
from harness.session import Session

ROUNDS = int(os.environ.get("THV_CHAOS_ROUNDS", "4"))


class Caller:
    """Calls the counting tool without pause in one session, until it is told to end."""

    def __init__(self, url: str) -> None:
        self.session = Session(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.unexpected: list[BaseException] = []

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.session.count()
            except (OSError, ConnectionError):
                time.sleep(0.005)
            except BaseException as error:
                self.unexpected.append(error)
                raise

    def __enter__(self) -> "Caller":
        self._thread.start()
        wait_for(lambda: self.session.answered > 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self.unexpected

    def answers_again(self) -> None:
        """Wait until calls that were sent after now have been answered."""
        before = self.session.answered
        wait_for(lambda: self.session.answered > before + 10, 30)


def disturb(thv: Thv, kill_some: Callable[[Thv], int]) -> None:
    """Kill some of the three once they run; without their supervisor it takes a command to bring them back."""
    wait_for(lambda: kill_some(thv))
    if kill_some in (kill_supervisor, kill_all):
        thv.ok("list")


@pytest.fixture
def caller(thv: Thv) -> Iterator[Caller]:
    """A caller of a running server."""
    with Caller(thv.ok("run", "uvx://echo-mcp@1.0").strip()) as calling:
        yield calling


@pytest.mark.timeout(3600)
def test_a_server_keeps_its_memory_its_pid_and_its_port_through_every_kill(thv: Thv, caller: Caller) -> None:
    before = thv.view("echo")
    for round_number in range(ROUNDS):
        for kill_some in KILLS:
            time.sleep(random.uniform(0, 0.3))
            disturb(thv, kill_some)
            caller.answers_again()
            answered = caller.session.last["count"]
            assert caller.session.answered <= answered <= caller.session.sent, round_number
    after = thv.view("echo")
    assert (after["pid"], after["port"], after["restarts"]) == (before["pid"], before["port"], 0)


@pytest.mark.timeout(3600)
def test_a_kill_during_run_neither_loses_nor_doubles_the_new_workload(thv: Thv) -> None:
    thv.ok("run", "uvx://echo-mcp@1.0", "--name", "witness")
    witness = thv.view("witness")["pid"]
    for round_number in range(ROUNDS):
        for kill_some in KILLS:
            name = f"w{round_number}-{kill_some.__name__.removeprefix('kill_')}"
            running = subprocess.Popen(
                [thv.command, "run", "uvx://echo-mcp@1.0", "--name", name],
                env=thv.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            time.sleep(random.uniform(0, 1.2))
            disturb(thv, kill_some)
            url, told = running.communicate(timeout=120)
            assert running.returncode == 0, told
            session = wait_for(partial(Session, url.strip()))
            assert session.count()["count"] == 1
            assert first_processes(thv) == sorted([thv.view("witness")["pid"], thv.view(name)["pid"]])
            thv.ok("rm", name)
    assert thv.view("witness")["pid"] == witness
    assert json.loads(thv.ok("list", "--all", "--format", "json"))[0]["restarts"] == 0
