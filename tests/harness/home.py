"""One user's thv in a home of its own: commands, processes, and what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true value of ``condition``; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.02)
    raise AssertionError(f"waited {seconds} s for {condition}")


def heed_interrupts() -> None:
    """Let a child heed SIGINT, although whoever started these tests in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Thv:
    """One user's thv: a home, its commands, and its processes.

    ``before`` are words before each command: what makes it run elsewhere, or as somebody else.
    """

    def __init__(
        self,
        home: Path,
        wheels: Path | None,
        scripts: str = sysconfig.get_path("scripts"),
        before: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.before = tuple(before)
        self.command = str(Path(scripts, "thv"))
        self.environment = {**os.environ, "THV_HOME": str(home)}
        if wheels is not None:
            self.environment["UV_FIND_LINKS"] = str(wheels)

    def __call__(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environment = {**self.environment, **options.pop("environment", {})}
        return subprocess.run(
            [*self.before, self.command, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            **options,
        )

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run a command that must succeed, and return what it printed."""
        done = self(*arguments, **options)
        assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    def call(self, server: str, tool: str, **arguments: Any) -> str:
        """Call a tool that must succeed and return the text of its result."""
        shown = self.ok("mcp", "call", server, tool, "--args", json.dumps(arguments), "--format", "json")
        return "".join(part.get("text", "") for part in json.loads(shown)["content"])

    def view(self, name: str) -> dict[str, Any]:
        """Return what ``thv status`` shows of a workload."""
        shown: dict[str, Any] = json.loads(self.ok("status", name, "--format", "json"))
        return shown

    def supervisor(self) -> int:
        """Return the pid of the supervisor, or 0."""
        state = str(self.home / "state")
        for pid in _processes():
            words = _words(pid)
            if "thv_supervisor.supervise" in words and state in words:
                return pid
        return 0

    def child(self, module: str) -> int:
        """Return the pid of the supervisor's child that runs ``module``, or 0."""
        parent = self.supervisor()
        for pid in _children(parent) if parent else ():
            if module in _words(pid):
                return pid
        return 0

    def kill(self, module: str) -> None:
        """Kill the supervisor's child that runs ``module``."""
        os.kill(wait_for(lambda: self.child(module)), signal.SIGKILL)

    def left_behind(self) -> list[int]:
        """Return the processes that have this home in their arguments or hold a file of it open."""
        return [pid for pid in _processes() if self._touches(pid)]

    def close(self) -> None:
        """Remove every workload, end the processes, and fail if anything is left."""
        self("rm", "--all", "--yes")
        self("serve", "--stop")
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.left_behind(), 20)
        left = {pid: _words(pid) for pid in self.left_behind()}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, left

    def _touches(self, pid: int) -> bool:
        home = str(self.home)
        if pid == os.getpid():
            return False
        if any(home in word for word in _words(pid)):
            return True
        with contextlib.suppress(OSError):
            return any(str(link.readlink()).startswith(home) for link in Path(f"/proc/{pid}/fd").iterdir())
        return False


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
