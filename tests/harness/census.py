"""What there is of one home, counted: processes, ports, sockets, FIFOs, files, control groups, mounts."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from harness.home import Thv
from harness.killing import three

_GROWING = ("state/state.db-wal", "state/state.db-shm", "state/supervisor.log", "state/supervisor.log.1")
"""Files that come and go with the processes, not with workloads."""


@dataclass(frozen=True)
class Census:
    """``servers`` are processes beside the three; ``ended`` those that nobody collected; ``ports`` listen on TCP.

    ``files`` are paths below the home with their kind, ``temporary`` what lies in the folder for temporary files,
    ``groups`` control groups, ``mounts`` mounts below the home, and ``sockets`` those that each of the three holds.
    """

    servers: tuple[int, ...]
    ended: int
    ports: tuple[int, ...]
    files: frozenset[str]
    temporary: frozenset[str]
    groups: frozenset[str]
    mounts: int
    sockets: tuple[int, ...]

    def beyond(self, before: Census) -> dict[str, object]:
        """Return what there is now and was not before, by the name of its field; fewer sockets are no loss."""
        found: dict[str, object] = {}
        for each in fields(self):
            mine, former = getattr(self, each.name), getattr(before, each.name)
            if isinstance(mine, frozenset):
                if new := mine - former:
                    found[each.name] = sorted(new)
            elif each.name == "sockets":
                if any(now > then for now, then in zip(mine, former, strict=True)):
                    found[each.name] = (former, mine)
            elif mine != former:
                found[each.name] = mine
        return found


def count(thv: Thv) -> Census:
    """Count what there is now."""
    ours = three(thv)
    everybody = thv.left_behind()
    return Census(
        servers=tuple(sorted(set(everybody) - set(ours))),
        ended=_ended(ours[0]),
        ports=tuple(sorted(listening(everybody))),
        files=frozenset(_files(thv.home)),
        temporary=frozenset(_files(Path(thv.environment.get("TMPDIR", os.devnull)))),
        groups=frozenset(_groups(thv.home)),
        mounts=sum(str(thv.home / "state/plugins") in line for line in Path("/proc/mounts").read_text().splitlines()),
        sockets=tuple(_sockets(pid)["socket"] for pid in ours),
    )


def first_processes(thv: Thv) -> list[int]:
    """Return the first process of every sandbox of this home, whoever knows of it."""
    found = []
    for pid in thv.left_behind():
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            inside = next(line for line in lines if line.startswith("NSpid")).split()[1:]
            if len(inside) == 2 and inside[1] == "1":
                found.append(pid)
    return sorted(found)


def listening(pids: list[int]) -> set[int]:
    """Return the TCP ports of this network on which these processes listen."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                ports[f"socket:[{words[9]}]"] = int(words[1].rpartition(":")[2], 16)
    return {ports[link] for pid in pids for link in _links(pid) if link in ports}


def _ended(parent: int) -> int:
    """Count the processes that have ended and whose parent, the supervisor, did not collect them."""
    found = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            rest = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
            found += bool(rest) and rest[0] == "Z" and int(rest[1]) == parent
    return found


def _sockets(pid: int) -> Counter[str]:
    return Counter(link.partition(":")[0] for link in _links(pid))


def _links(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # What the package builder and the interpreter keep for themselves is no matter of a workload.
        if name not in _GROWING and not name.startswith("cache/"):
            with contextlib.suppress(OSError):
                yield f"{name} ({_kind(path.lstat().st_mode)})"


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISDIR, "folder"), (stat.S_ISLNK, "link"))
    return next((word for test, word in kinds if test(mode)), "file")


def _groups(home: Path) -> Iterator[str]:
    """Yield the control groups whose names say that they belong to a deployment below this home."""
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name != "thv":
            continue
        for name in below:
            workload, _, generation = name.rpartition("-")[0].rpartition(".")
            directory = home / "state/plugins/sandbox" / workload / generation
            if name.endswith(f"-{zlib.crc32(os.fsencode(directory)):08x}"):
                yield f"{folder}/{name}"
