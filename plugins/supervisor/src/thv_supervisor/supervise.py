"""The parent of control and gateway: start both, restart whichever dies, forward signals. It parses nothing.

One thread, standard library only. A flock on a file that is never unlinked makes it single; children inherit the
reading end of a pipe and exit when it closes, so a killed supervisor takes them along and nothing else. SIGHUP
re-executes it under the interpreter that the link ``interpreter`` in the state directory names.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

MODULES = {"control": "thv_supervisor.control", "gateway": "thv_supervisor.gateway_process"}
SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
STABLE = 10.0
SLOWEST = 5.0
GRACE = 15.0
LOOK = 10.0
TRYING = 0.5
PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """The two children, by name, and when each may be started (seconds of the monotonic clock)."""

    def __init__(self, state: str, lock: int, pipe: tuple[int, int], alive: dict[str, int]) -> None:
        self.state = state
        self.lock = lock
        self.pipe = pipe
        self.alive = alive
        self.began = dict.fromkeys(alive, time.monotonic())
        self.delay = dict.fromkeys(MODULES, 0.0)
        self.due = dict.fromkeys(MODULES, 0.0)

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT."""
        while True:
            self.reap()
            self.start()
            waiting = [self.due[name] - time.monotonic() for name in MODULES if name not in self.alive]
            arrived = signal.sigtimedwait(SIGNALS, max(min(waiting, default=LOOK), 0.01))
            number = arrived.si_signo if arrived else 0
            if number in (signal.SIGTERM, signal.SIGINT) or self.is_homeless():
                self.stop()
                return
            if number == signal.SIGHUP:
                self.succeed()

    def is_homeless(self) -> bool:
        """Tell whether the state directory was deleted or replaced: then nobody can find these processes again."""
        try:
            return not os.path.samestat(Path(self.state, "supervisor.lock").stat(), os.fstat(self.lock))
        except OSError:
            return True

    def start(self) -> None:
        """Start each child that is not alive and is due."""
        for name, module in MODULES.items():
            if name in self.alive or time.monotonic() < self.due[name]:
                continue
            command = [interpreter(self.state), "-P", "-m", module, str(self.pipe[0])]
            self.began[name] = time.monotonic()
            try:
                self.alive[name] = os.posix_spawn(command[0], command, os.environ, setsigmask=())
            except OSError:
                self.put_off(name)

    def reap(self) -> None:
        """Collect whatever has ended, and let a child that ends often wait longer."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG)[0]:
                for name in [name for name, pid in self.alive.items() if pid == ended]:
                    self.put_off(name)

    def put_off(self, name: str) -> None:
        """Note that a child has ended or could not start, and when it is due again."""
        self.alive.pop(name, None)
        stable = time.monotonic() - self.began[name] > STABLE
        self.delay[name] = 0.0 if stable else min(max(self.delay[name] * 2, 0.05), SLOWEST)
        self.due[name] = time.monotonic() + self.delay[name]

    def stop(self) -> None:
        """End both children: SIGTERM, wait, SIGKILL."""
        for pid in self.alive.values():
            os.kill(pid, signal.SIGTERM)
        limit = time.monotonic() + GRACE
        while self.alive and time.monotonic() < limit:
            self.reap()
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
        for pid in self.alive.values():
            os.kill(pid, signal.SIGKILL)

    def succeed(self) -> None:
        """Become the supervisor of the interpreter that the link names; the children live on."""
        hand_over = (self.lock, self.pipe[1])
        for descriptor in hand_over:
            os.set_inheritable(descriptor, True)
        held = [str(self.lock), *map(str, self.pipe), *(f"{name}={pid}" for name, pid in self.alive.items())]
        python = interpreter(self.state)
        with contextlib.suppress(OSError):
            os.execv(python, [python, "-P", "-m", "thv_supervisor.supervise", self.state, *held])  # noqa: S606 - no shell is wanted
        for descriptor in hand_over:
            os.set_inheritable(descriptor, False)


def interpreter(state: str) -> str:
    """Return the Python that children run under: what the link names, or ours when that is no program."""
    try:
        named = str(Path(state, "interpreter").readlink())
    except OSError:
        return sys.executable
    return named if Path(named).is_file() and os.access(named, os.X_OK) else sys.executable


def is_only(lock: int) -> bool:
    """Take the lock, and tell whether that succeeds; whoever only looks whether it is held, holds it for a moment."""
    limit = time.monotonic() + TRYING
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > limit:
                return False
            time.sleep(TRYING / 20)
        else:
            return True


def become_reaper() -> None:
    """Become the parent of orphans below us: where process 1 is no init, nobody else collects ended servers."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def adopted(arguments: Iterable[str]) -> dict[str, int]:
    """Return the children that a predecessor hands over as ``NAME=PID``."""
    pairs = (argument.split("=") for argument in arguments)
    return {name: int(pid) for name, pid in pairs}


def main(state: str, *held: str) -> None:
    """Supervise for the state directory ``state``, unless somebody does already."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if held:
        lock, reading, writing = map(int, held[:3])
    else:
        lock = os.open(Path(state, "supervisor.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        reading, writing = os.pipe()
    for descriptor, inheritable in ((lock, False), (reading, True), (writing, False)):
        os.set_inheritable(descriptor, inheritable)
    if not is_only(lock):
        return
    become_reaper()
    Supervisor(state, lock, (reading, writing), adopted(held[3:])).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
