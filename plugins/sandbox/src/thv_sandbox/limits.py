"""How each limit of a plan is enforced on this machine: by control groups where there are any, else as far as it goes.

What is only watched, or what a server could undo, is not called enforced: ``require_limits`` refuses it.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thv_core.errors import RuntimeUnavailable
from thv_core.model.plan import DeploymentPlan, ResourceLimits
from thv_core.model.quantity import memory_text

__all__ = ["LONGEST_FILE", "Enforcement", "apply", "check_required", "enforcement", "prefer"]

LONGEST_FILE = 8 << 30
"""The size in bytes beyond which no file grows, so that the log is bounded even while nobody looks at it."""

_MOST_DATA = 4 << 30
_NICE = 5
_FIRST_TO_DIE = 500


@dataclass(frozen=True)
class Enforcement:
    """What becomes of the limits: ``words`` says it of each, ``lacking`` names those that are not enforced."""

    words: tuple[str, ...]
    lacking: tuple[str, ...]


def enforcement(limits: ResourceLimits, controllers: Collection[str], cores: int) -> Enforcement:
    """Say how limits are enforced with these controllers on a machine with so many cores."""
    memory = f"memory {memory_text(limits.memory)}"
    grouped = "memory" in controllers
    cpu = _cpu(limits.cpu, controllers, cores)
    return Enforcement(
        words=(
            f"{memory} (cgroup)" if grouped else f"{memory} (watched, not enforced between looks)",
            *cpu,
            f"pids {limits.pids} ({'cgroup' if 'pids' in controllers else 'rlimit'})",
            f"files {limits.files} (rlimit, of each process)",
        ),
        lacking=(*(() if grouped else (memory,)), *(() if "cpu" in controllers or not cpu else ("cpu",))),
    )


def check_required(plan: DeploymentPlan, enforced: Enforcement) -> None:
    """Refuse a plan that requires its limits when one of them is not enforced.

    :raises RuntimeUnavailable: naming those.
    """
    if plan.require_limits and enforced.lacking:
        raise RuntimeUnavailable(
            f"this machine cannot enforce {' and '.join(enforced.lacking)}, and the profile requires its limits",
            evidence=enforced.words,
            hint="Run thv where it may make control groups: in a systemd session with cgroup version 2, or as root. "
            "Otherwise remove require_limits from the profile.",
        )


def apply(pid: int, limits: ResourceLimits, controllers: Collection[str]) -> None:
    """Set the limits of the held first process of a sandbox, which all others inherit."""
    for limit, wanted in _bounds(limits, controllers).items():
        _, ceiling = resource.prlimit(pid, limit)
        bound = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
        resource.prlimit(pid, limit, (bound, bound))
    if limits.cpu and "cpu" not in controllers:
        with suppress(OSError):
            os.sched_setaffinity(pid, _cores(limits.cpu, pid))


def prefer(pid: int) -> None:
    """Let the machine stay usable when a server uses all that it may: it runs last, and is ended first."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, max(os.getpriority(os.PRIO_PROCESS, pid), _NICE))
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_FIRST_TO_DIE))


def _bounds(limits: ResourceLimits, controllers: Collection[str]) -> dict[int, int]:
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.files,
        # Set after the user namespace was made, it counts the processes of this sandbox only.
        resource.RLIMIT_NPROC: limits.pids,
        resource.RLIMIT_FSIZE: LONGEST_FILE,
    }
    if "memory" not in controllers:
        # Of each process, and without its shared memory: it only slows down what the watch then ends. The stacks of
        # threads count in full, and Node maps much more than it uses.
        bounds[resource.RLIMIT_DATA] = max(4 * limits.memory, _MOST_DATA)
    return bounds


def _cpu(wanted: float, controllers: Collection[str], cores: int) -> tuple[str, ...]:
    if not wanted:
        return ()
    if "cpu" in controllers:
        return (f"cpu {wanted:g} (cgroup)",)
    return (f"cpu {wanted:g} (kept on {min(math.ceil(wanted), cores)} of {cores} cores, not enforced)",)


def _cores(wanted: float, pid: int) -> set[int]:
    """Choose cores, other ones for each sandbox."""
    offered = sorted(os.sched_getaffinity(0))
    first = pid % len(offered)
    return set((offered[first:] + offered[:first])[: math.ceil(wanted)])
