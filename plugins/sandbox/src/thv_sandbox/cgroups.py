"""Control groups: where this process may make some, and those of one deployment.

Version 1 has one hierarchy for each controller, version 2 one for all. A group of ours lies in a folder ``thv`` of the
group of this process, or in that of its parent: in version 2 a group with processes cannot have limited children. The
processes of a service or of a terminal have such a parent, which systemd gave to the user. Source: cgroups(7),
cgroup-v1/memory.rst and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from thv_core.model.plan import ResourceLimits

__all__ = [
    "CONTROLLERS",
    "Hierarchy",
    "Places",
    "attach",
    "found",
    "here",
    "killed_for_memory",
    "limited",
    "remove",
    "sweep",
]

CONTROLLERS = ("memory", "pids", "cpu")

_FOLDER = "thv"
_PROCESSES = "cgroup.procs"
_CHILDREN = "cgroup.subtree_control"
_PERIOD = 100_000
_REMOVE_SECONDS = 1.0
_INTERVAL = 0.01


Places = Mapping[str, tuple[Path, bool]]
"""For each controller that may be used, the folder for groups, and whether it is of version 2."""


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy: ``own`` is the folder of this process's group, ``controllers`` those of ours it has."""

    own: Path
    controllers: tuple[str, ...]
    unified: bool

    @property
    def parents(self) -> tuple[Path, ...]:
        """The folders in which a group could be made, the best first."""
        return (self.own, self.own.parent) if self.unified else (self.own,)


def found(mountinfo: str, membership: str) -> tuple[Hierarchy, ...]:
    """Return the hierarchies of ``/proc/self/mountinfo`` and ``/proc/self/cgroup`` that have controllers of ours."""
    groups = dict(_groups(membership))
    mounts = [_mount(line) for line in mountinfo.splitlines()]
    hierarchies = [_hierarchy(*mount, groups) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]
    return tuple(each for each in hierarchies if each and each.controllers)


def here() -> Places:
    """Return where this process may make groups."""
    places: dict[str, tuple[Path, bool]] = {}
    for hierarchy in found(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text()):
        place, controllers = _place(hierarchy)
        if place is not None:
            places |= {name: (place, hierarchy.unified) for name in controllers if name not in places}
    return places


def limited(places: Places, name: str, limits: ResourceLimits) -> dict[str, Path]:
    """Make the groups of one deployment and set its limits; return the folder of each controller that took them."""
    groups: dict[str, Path] = {}
    for controller, (place, unified) in places.items():
        folder = place / name
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            for file, value, needed in _settings(controller, unified, limits):
                _write(folder / file, value, needed=needed)
            groups[controller] = folder
    return groups


def attach(groups: Mapping[str, Path], pid: int) -> None:
    """Put a process, whose descendants will follow, into the groups of its deployment."""
    for folder in dict.fromkeys(groups.values()):
        _write(folder / _PROCESSES, str(pid), needed=True)


def killed_for_memory(folder: str) -> int:
    """Return how many processes of a group were killed because it used too much memory."""
    for name in ("memory.events", "memory.oom_control"):
        with suppress(OSError):
            lines = (line.split() for line in Path(folder, name).read_text().splitlines())
            return next((int(words[1]) for words in lines if words[0] == "oom_kill"), 0)
    return 0


def remove(folders: tuple[Path, ...], seconds: float = _REMOVE_SECONDS) -> None:
    """Remove groups whose processes have ended, or are just ending, within ``seconds``."""
    deadline = time.monotonic() + seconds
    for folder in folders:
        while _occupied(folder) and time.monotonic() < deadline:
            time.sleep(_INTERVAL)


def sweep(places: Places, abandoned: Callable[[str], bool]) -> None:
    """Remove the empty groups of which ``abandoned`` says by their name that nothing else is left of them."""
    for place, _ in places.values():
        with suppress(OSError):
            remaining = [folder for folder in place.iterdir() if abandoned(folder.name)]
            remove(tuple(remaining), 0.0)


def _occupied(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _groups(membership: str) -> Iterator[tuple[str, str]]:
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(",") if controllers else ([""] if number == "0" else []):
            yield name, path


def _mount(line: str) -> tuple[str, str, str, str]:
    """Return the root, the mount point, the type and the controllers of one line (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    words, kind = before.split(), after.split()
    return words[3], words[4], kind[0], kind[-1]


def _hierarchy(root: str, point: str, kind: str, options: str, groups: Mapping[str, str]) -> Hierarchy | None:
    unified = kind == "cgroup2"
    names = ("",) if unified else tuple(name for name in CONTROLLERS if name in options.split(","))
    path = next((groups[name] for name in names if name in groups), None)
    if path is None or not (path + "/").startswith(root.rstrip("/") + "/"):
        return None
    own = Path(point + path.removeprefix(root.rstrip("/")))
    return Hierarchy(own=own, controllers=_offered(own) if unified else names, unified=unified)


def _offered(own: Path) -> tuple[str, ...]:
    with suppress(OSError):
        offered = (own / "cgroup.controllers").read_text().split()
        return tuple(name for name in CONTROLLERS if name in offered)
    return ()


def _place(hierarchy: Hierarchy) -> tuple[Path | None, tuple[str, ...]]:
    for parent in hierarchy.parents:
        place = parent / _FOLDER
        with suppress(OSError):
            if hierarchy.unified:
                wanted = " ".join(f"+{name}" for name in hierarchy.controllers)
                _write(parent / _CHILDREN, wanted, needed=True)
                place.mkdir(exist_ok=True)
                _write(place / _CHILDREN, wanted, needed=True)
            place.mkdir(exist_ok=True)
            if os.access(place, os.W_OK):
                return place, hierarchy.controllers
    return None, ()


def _settings(controller: str, unified: bool, limits: ResourceLimits) -> tuple[tuple[str, str, bool], ...]:
    """Return the files to write, with their values, and whether a limit depends on each."""
    memory, pids, quota = str(limits.memory), str(limits.pids), int(limits.cpu * _PERIOD)
    # A machine without swap has no file for it, and nothing to limit there.
    return {
        ("memory", True): (
            ("memory.max", memory, True),
            ("memory.swap.max", "0", False),
            ("memory.oom.group", "1", False),
        ),
        ("memory", False): (("memory.limit_in_bytes", memory, True), ("memory.memsw.limit_in_bytes", memory, False)),
        ("pids", True): (("pids.max", pids, True),),
        ("pids", False): (("pids.max", pids, True),),
        ("cpu", True): (("cpu.max", f"{quota or 'max'} {_PERIOD}", True),),
        ("cpu", False): (("cpu.cfs_quota_us", str(quota or -1), True),),
    }[controller, unified]


def _write(file: Path, value: str, *, needed: bool) -> None:
    try:
        # Not created: a file that is not there is a limit that is not there.
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError:
        if needed:
            raise
