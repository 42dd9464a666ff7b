"""Random steps with real processes in a real sandbox: at the end everything is as it should be, and nothing is left.

``THV_CHAOS_STEPS`` is the number of steps; the long form of ``tox -e chaos`` takes 100. ``THV_CHAOS_SEED`` repeats a
run: it is in the message of a failure, with each step.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.census import Census, count, first_processes, listening
from harness.changing import Asked, exported
from harness.home import Thv, wait_for
from harness.killing import GATEWAY, KILLS, kill
from harness.session import Session
from harness.shortage import full_disk, small_disk
from harness.users import User

from thv_core.errors import RolledBack
from thv_core.model.status import Desired, Status
from thv_core.state.store import StateStore

STEPS = int(os.environ.get("THV_CHAOS_STEPS", "30"))
SEED = int(os.environ.get("THV_CHAOS_SEED") or random.randrange(1 << 32))
NAMES = ("w0", "w1", "w2", "w3")
SERVER = "uvx://echo-mcp@1.0"
AT_REST = (Status.RUNNING, Status.STOPPED)


@dataclass
class Wanted:
    """What a workload should be: running or stopped, with this greeting in its environment, at this port."""

    status: str
    greeting: str = ""
    port: int = 0


@dataclass
class World:
    """A home, what should be in it, and what was done."""

    thv: Thv
    granted: Path
    chance: random.Random
    wanted: dict[str, Wanted] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    greetings: int = 0

    def tell(self, text: str) -> None:
        """Keep what happens, for the message of a failure."""
        self.story.append(text)

    def named(self, status: str = "") -> str:
        """Choose a workload that should be there, or an empty name."""
        names = [name for name, wanted in self.wanted.items() if status in ("", wanted.status)]
        return self.chance.choice(names) if names else ""

    def unused(self) -> str:
        """Choose a name that no workload has, or an empty one."""
        names = [name for name in NAMES if name not in self.wanted]
        return self.chance.choice(names) if names else ""

    def greeting(self) -> str:
        """Return a greeting that was never used."""
        self.greetings += 1
        return f"greeting-{self.greetings}"

    def running(self, name: str) -> list[str]:
        """Return the words that run a workload; every second one has a write grant, and is changed by a pause."""
        grant = ["--volume", f"{self.granted}:/granted"] if name in NAMES[::2] else []
        return ["run", SERVER, "--name", name, *grant]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command, and go on."""
        return subprocess.Popen(
            [self.thv.command, *words],
            env=self.thv.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def adopt(self, name: str) -> None:
        """Take what became of a workload for what is wanted: a command failed, and either end is an honest one."""
        row = wait_for(partial(self._at_rest, name), 90)[0]
        self.wanted.pop(name, None)
        if row is not None:
            greeting = row.config.env_vars.get("GREETING", "")
            self.wanted[name] = Wanted(str(row.status), greeting, row.config.port)
        self.tell(f"    {name} is {self.wanted.get(name)}")

    def _at_rest(self, name: str) -> list[Any]:
        self.thv.ok("list")
        row = next((each for each in rows(self.thv) if each.name == name), None)
        return [row] if row is None or (row.status in AT_REST and row.successor is None) else []


def rows(thv: Thv) -> list[Any]:
    """Return the workloads as the state has them."""
    store = StateStore(thv.home / "state/state.db")
    try:
        return store.all()
    finally:
        store.close()


def finished(command: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command, and check that it does not end in a traceback."""
    out, told = command.communicate(timeout=200)
    assert "Traceback" not in told, told
    return command.returncode, out + told


# Steps: each returns whether it is certain how it ended -------------------------------------------------------------


def run(world: World, name: str) -> Callable[[], bool]:
    command = world.start(*world.running(name))

    def judged() -> bool:
        code, told = finished(command)
        if code == 0:
            world.wanted[name] = Wanted("running")
        return code == 0 or _uncertain(world, name, told)

    return judged


def stop(world: World, name: str) -> Callable[[], bool]:
    return _simple(world, name, "stopped", world.start("stop", name, "--timeout", "3"))


def start(world: World, name: str) -> Callable[[], bool]:
    return _simple(world, name, "running", world.start("start", name))


def remove(world: World, name: str) -> Callable[[], bool]:
    return _simple(world, name, "", world.start("rm", name))


def _simple(world: World, name: str, status: str, command: subprocess.Popen[str]) -> Callable[[], bool]:
    def judged() -> bool:
        code, told = finished(command)
        if code == 0 and status:
            world.wanted[name].status = status
        elif code == 0:
            world.wanted.pop(name)
        return code == 0 or _uncertain(world, name, told)

    return judged


def _uncertain(world: World, name: str, told: str) -> bool:
    world.tell(f"    {name}: {told.strip()}")
    return False


def run_and_remove(world: World, name: str) -> Callable[[], bool]:
    running = world.start(*world.running(name))
    time.sleep(world.chance.uniform(0, 0.8))
    removing = world.start("rm", name)

    def judged() -> bool:
        (ran, told), (removed, _) = finished(running), finished(removing)
        world.tell(f"    run {ran}, rm {removed}: {told.strip().splitlines()[-1:]}")
        if removed == 0:
            return True
        # It came too early: there was nothing to remove yet.
        if ran == 0:
            world.wanted[name] = Wanted("running")
        return ran == 0

    return judged


def edit(world: World, name: str) -> Callable[[], bool]:
    config, greeting = exported(world.thv, name), world.greeting()
    config["env_vars"] = {**config.get("env_vars", {}), "GREETING": greeting}

    changing = Asked(world.thv, config)

    def judged() -> bool:
        error = changing.ended()
        if error is None:
            world.wanted[name].greeting = greeting
            # What is changed while it is stopped is tried by running it.
            world.wanted[name].status = "running"
        return error is None or _uncertain(world, name, str(error))

    return judged


def edit_wrongly(world: World, name: str) -> Callable[[], bool]:
    config = {**exported(world.thv, name), "cmd_args": ["--exit", "3"]}

    changing = Asked(world.thv, config)

    def judged() -> bool:
        error = changing.ended()
        assert error is not None, f"{name} runs although its server exits at once"
        return isinstance(error, RolledBack) or _uncertain(world, name, str(error))

    return judged


STARTING = (run, run_and_remove)
CHANGING = (stop, start, start, remove, edit, edit, edit_wrongly)


# What happens meanwhile ----------------------------------------------------------------------------------------------


def kill_a_server(thv: Thv) -> int:
    return kill(*first_processes(thv)[:1])


DISTURBANCES = (*KILLS, kill_a_server)


def step(world: World, number: int) -> None:
    """Do one random thing, undisturbed, while something is killed, or while the disk is full."""
    name, steps = world.unused(), STARTING
    if not name or world.chance.random() < len(world.wanted) / (len(NAMES) + 1):
        name, steps = world.named(), CHANGING
    chosen = world.chance.choice(steps)
    meanwhile = world.chance.choices(("nothing", "kill", "full disk"), (4, 4, 1))[0]
    with contextlib.ExitStack() as stack:
        if meanwhile == "full disk" and chosen not in (edit, edit_wrongly):
            stack.enter_context(full_disk(world.thv))
        judged = chosen(world, name)
        disturb = world.chance.choice(DISTURBANCES) if meanwhile == "kill" else None
        world.tell(f"{number}: {chosen.__name__} {name}, {disturb.__name__ if disturb else meanwhile}")
        if disturb:
            time.sleep(world.chance.uniform(0, 0.7))
            disturb(world.thv)
        certain = judged() and not (disturb and chosen is run_and_remove)
    if not certain:
        assert meanwhile != "nothing", "it failed although nothing disturbed it"
        world.adopt(name)


# At the end ----------------------------------------------------------------------------------------------------------


def agrees(world: World) -> bool:
    """Tell whether what is observed is what is wanted, and check that nothing is doubled or moved."""
    listed = json.loads(world.thv.ok("list", "--all", "--format", "json"))
    views = {view["name"]: view for view in listed}
    assert sorted(views) == sorted(world.wanted), views
    if {name: view["status"] for name, view in views.items()} != {n: w.status for n, w in world.wanted.items()}:
        return False
    alive = {name: view for name, view in views.items() if view["status"] == "running"}
    return (
        first_processes(world.thv) == sorted(view["pid"] for view in alive.values())
        and listening([world.thv.child(GATEWAY)]) == {view["port"] for view in alive.values()}
        and all(row.successor is None and _is_meant(row) for row in rows(world.thv))
    )


def _is_meant(row: Any) -> bool:
    return bool((row.desired is Desired.RUNNING) == (row.status is Status.RUNNING))


def check(world: World) -> None:
    """Wait until everything is as it should be, and call every server."""
    world.thv.ok("list")
    wait_for(lambda: agrees(world), 90)
    for view in json.loads(world.thv.ok("list", "--format", "json")):
        wanted = world.wanted[view["name"]]
        assert wanted.port in (0, view["port"]), view
        wanted.port = view["port"]
        value = wait_for(lambda url=view["url"]: Session(url)).call("environment", name="GREETING")["value"]
        assert (value or "") == wanted.greeting, view


@pytest.fixture
def world(thv: Thv, tmp_path: Path) -> Iterator[World]:
    """An empty home on a small disk; everything was used once, so that what stays for good is there already."""
    granted = tmp_path / "granted"
    temporary = tmp_path / "temporary"
    for folder in (granted, temporary):
        folder.mkdir()
    User(os.getuid(), granted).lend(granted)
    thv.environment["TMPDIR"] = str(temporary)
    with small_disk(thv.home / "state"):
        made = World(thv, granted, random.Random(SEED))
        thv.ok(*made.running(NAMES[0]))
        thv.ok("rm", NAMES[0])
        yield made
        thv.close()


def nothing_beyond(thv: Thv, before: Census) -> None:
    """Wait until nothing is there that was not there before."""
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not count(thv).beyond(before), 30)
    assert not count(thv).beyond(before)


@pytest.mark.timeout(3600)
def test_whatever_happens_the_end_is_as_wanted_and_nothing_is_left(world: World) -> None:
    before = count(world.thv)
    try:
        for number in range(STEPS):
            step(world, number)
            if number % 10 == 9:
                check(world)
        check(world)
        world.thv.ok("rm", "--all", "--yes")
        assert json.loads(world.thv.ok("list", "--all", "--format", "json")) == []
        nothing_beyond(world.thv, before)
    except BaseException as error:
        error.add_note("\n".join([f"THV_CHAOS_SEED={SEED}", *world.story]))
        raise


def test_the_end_of_everything_leaves_no_process_port_or_mount(world: World) -> None:
    thv = world.thv
    for name in NAMES:
        thv.ok(*world.running(name))
    assert len(listening(thv.left_behind())) == len(NAMES)
    thv.ok("rm", "--all", "--yes")
    thv.ok("serve", "--stop")
    wait_for(lambda: not thv.left_behind())
    left = count(thv)
    assert (left.ports, left.groups, left.mounts, left.temporary) == ((), frozenset(), 0, frozenset())
    assert not [name for name in left.files if name.endswith("(FIFO)")]
