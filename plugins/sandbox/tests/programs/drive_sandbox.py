"""Drives a sandbox in a process of its own, as whatever user runs it: an order on stdin, a report on stdout."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
import time
from pathlib import Path

import msgspec
from attacking import attacked

from thv_core.errors import ThvError
from thv_core.spi import Deployment, DeploymentPlan, ObservedState, Surroundings
from thv_sandbox import binary, launching
from thv_sandbox.instances import DeploymentFiles
from thv_sandbox.runtime import SandboxRuntime

CHOICES = {
    "system": lambda: binary.system(os.defpath),
    "bundled": lambda: binary.bundled(binary.package_folder(), platform.machine()),
}


def constructed(order):
    folder = Path(order["folder"])
    surroundings = Surroundings(state=folder / "state", cache=folder / "cache", environment=dict(os.environ))
    return SandboxRuntime(surroundings, CHOICES[order["bubblewrap"]])


def ignored(space):
    """Connect nothing."""


def eventually(condition, within=10.0):
    deadline = time.monotonic() + within
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def strays(marker):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def run_to_its_end(order):
    runtime = constructed(order)
    plan = msgspec.convert(order["plan"], DeploymentPlan)
    runtime.deploy(plan, ignored)
    ended = eventually(lambda: [each for each in runtime.observe() if each.state is ObservedState.EXITED])
    log = b"".join(runtime.logs(plan.deployment)).decode()
    runtime.remove(plan.deployment)
    return {"exit_code": ended[0].exit_code if ended else "still running", "log": log}


def refused(order):
    """Return the error with which a plan is refused, as a document."""
    try:
        constructed(order).prepare(msgspec.convert(order["plan"], DeploymentPlan), print)
    except ThvError as error:
        return error.document()
    return {}


def refused_start(order):
    """Return the error with which a start is refused, as a document."""
    try:
        constructed(order).deploy(msgspec.convert(order["plan"], DeploymentPlan), ignored)
    except ThvError as error:
        return error.document()
    return {}


def connected(order):
    """Return what ``connect`` saw: the namespace, and whether the server had begun, also a while later."""
    runtime = constructed(order)
    plan = msgspec.convert(order["plan"], DeploymentPlan)
    mark, seen = Path(order["folder"]) / "out" / "began", []

    def connect(space):
        time.sleep(0.3)
        seen.append([Path(f"/proc/{space.pid}/ns/net").stat().st_ino, mark.exists()])

    runtime.deploy(plan, connect)
    space = runtime.namespace(plan.deployment)
    report = {
        "seen": seen,
        "host": Path("/proc/self/ns/net").stat().st_ino,
        "later": Path(f"/proc/{space.pid}/ns/net").stat().st_ino,
        "began": bool(eventually(mark.exists)),
    }
    runtime.remove(plan.deployment)
    return report


def life(order, generation):
    plan = msgspec.convert(order["plan"], DeploymentPlan)
    deployment = Deployment(workload=plan.deployment.workload, generation=generation)
    return msgspec.structs.replace(plan, deployment=deployment)


def forked(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            signal.pause()
        finally:
            os._exit(1)
    return child


def aftermath(order, plan):
    """Return what a successor finds: how many deployments, whether all run, and what is left once they are removed."""
    fresh = constructed(order)
    listed = fresh.observe()
    marker = order["plan"]["deployment"]["workload"]
    folder = Path(order["folder"]) / "state" / marker
    # What the starter was just about to execute inherited its lock for that moment; the next look cleans up then.
    forgotten = bool(listed) or eventually(lambda: not fresh.observe() and not folder.exists(), 3.0)
    quiet = bool(listed) or eventually(lambda: not strays(marker), 3.0)
    running = all(each.state is ObservedState.RUNNING for each in listed)
    fresh.remove(plan.deployment)
    left = [] if eventually(lambda: not strays(marker), 3.0) else strays(marker)
    return {"listed": len(listed), "running": running, "quiet": quiet, "forgotten": forgotten, "left": left}


def killed_at_random(order):
    runtime = constructed(order)
    runtime.probe()
    moments = random.Random(order["seed"])
    reports = []
    for generation in range(1, order["tries"] + 1):
        plan = life(order, generation)
        child = forked(lambda plan=plan: runtime.deploy(plan, ignored))
        delay = moments.uniform(0, order["longest"])
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reports.append({"delay": delay, **aftermath(order, plan)})
    return reports


def dying_after(owner, name, call):
    """Replace a function by itself and a SIGKILL after its ``call``-th call."""
    original, calls = getattr(owner, name), []

    def replacement(*arguments, **options):
        result = original(*arguments, **options)
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, replacement)


STEPS = {
    "created": (DeploymentFiles, "create", 1),
    "spawned": (launching, "_spawn", 1),
    "reported": (launching, "_reported_server", 1),
    "limited": (launching, "_limit", 1),
    "recorded": (DeploymentFiles, "write", 1),
    "released": (os, "write", 1),
    "marked": (DeploymentFiles, "write", 2),
}


def killed_after_each_step(order):
    runtime = constructed(order)
    runtime.probe()
    reports = {}
    for generation, (step, (owner, name, call)) in enumerate(STEPS.items(), start=1):
        plan = life(order, generation)

        def deploy(plan=plan, owner=owner, name=name, call=call):
            dying_after(owner, name, call)
            runtime.deploy(plan, ignored)

        child = forked(deploy)
        _, code = os.waitpid(child, 0)
        reports[step] = {"died": os.waitstatus_to_exitcode(code) == -signal.SIGKILL, **aftermath(order, plan)}
    return reports


def raced(order):
    """Deploy one deployment in several processes at once and return the pids that they were told."""
    runtime = constructed(order)
    plan = msgspec.convert(order["plan"], DeploymentPlan)
    runtime.probe()
    reader, writer = os.pipe()
    children = [
        forked(lambda: os.write(writer, b"%d\n" % constructed(order).deploy(plan, ignored).pid)) for _ in range(4)
    ]
    answers = b""
    while answers.count(b"\n") < len(children):
        answers += os.read(reader, 4096)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    count = len(runtime.observe())
    runtime.remove(plan.deployment)
    return {"pids": answers.decode().split(), "observed": count}


def executed_anew(order):
    """Deploy, replace this process by another program in the same process, and let that one bury the sandbox."""
    if "deployed" not in order:
        observed = constructed(order).deploy(msgspec.convert(order["plan"], DeploymentPlan), ignored)
        succession = {**order, "deployed": observed.pid}
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], json.dumps(succession)])
    runtime = constructed(order)
    (found,) = runtime.observe()
    runtime.stop(found.deployment, 5)
    (ended,) = runtime.observe()
    try:
        os.waitpid(-1, os.WNOHANG)
        unburied = True
    except ChildProcessError:
        unburied = False
    runtime.remove(found.deployment)
    return {"same": found.pid == order["deployed"], "state": ended.state, "code": ended.exit_code, "zombie": unburied}


def attack(order):
    return attacked(constructed(order), order, msgspec.convert(order["plan"], DeploymentPlan))


ACTIONS = {
    action.__name__: action
    for action in (
        run_to_its_end,
        refused,
        refused_start,
        connected,
        attack,
        killed_at_random,
        killed_after_each_step,
        raced,
        executed_anew,
    )
}


def main():
    order = json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read())
    sys.stdout.write(json.dumps(ACTIONS[order["action"]](order)))


main()
