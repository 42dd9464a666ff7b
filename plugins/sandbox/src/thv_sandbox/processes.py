"""Processes of this machine as the kernel shows them: identities that a reused pid cannot fake, signals, ends.

Source: proc(5), pidfd_open(2).
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from thv_core.model.document import Document

__all__ = [
    "ProcessIdentity",
    "alive",
    "boot_identity",
    "children",
    "command_name",
    "descendants",
    "holders",
    "identity",
    "reap",
    "send_signal",
    "send_signal_within",
    "wait_for_end",
]

_PROC = Path("/proc")
_STATE, _PARENT, _START = 0, 1, 19
_DEAD = ("Z", "X")


class ProcessIdentity(Document, frozen=True, kw_only=True):
    """One process of this boot: a pid and its start time in clock ticks since the boot."""

    pid: int
    start: int


def boot_identity() -> str:
    """Return the random id that the kernel drew at this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identity(pid: int) -> ProcessIdentity | None:
    """Return the identity of a process, also of a zombie, or ``None`` when there is none."""
    fields = _stat(pid)
    return ProcessIdentity(pid=pid, start=int(fields[_START])) if fields else None


def alive(process: ProcessIdentity) -> bool:
    """Tell whether exactly this process still runs; a zombie does not."""
    fields = _stat(process.pid)
    return bool(fields) and int(fields[_START]) == process.start and fields[_STATE] not in _DEAD


def children(pid: int) -> tuple[ProcessIdentity, ...]:
    """Return the living children of a process."""
    return tuple(
        ProcessIdentity(pid=each, start=int(fields[_START]))
        for each in _pids()
        if (fields := _stat(each)) and int(fields[_PARENT]) == pid and fields[_STATE] not in _DEAD
    )


def descendants(pid: int) -> tuple[int, ...]:
    """Return the pids of all that descends from a process, without looking at any other process of the machine."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        begotten = _begotten(waiting.pop())
        found += begotten
        waiting += begotten
    return tuple(found)


def command_name(process: ProcessIdentity) -> str:
    """Return the short name of the program that a process executes, or an empty string."""
    with suppress(OSError):
        return (_PROC / f"{process.pid}/comm").read_text().rstrip("\n")
    return ""


def holders(path: Path) -> tuple[ProcessIdentity, ...]:
    """Return every other process of ours that holds the file at ``path`` open."""
    try:
        wanted = path.stat()
    except OSError:
        return ()
    found = [identity(pid) for pid in _pids() if pid != os.getpid() and _holds(pid, wanted)]
    return tuple(each for each in found if each)


def send_signal(process: ProcessIdentity, number: signal.Signals) -> None:
    """Send a signal to exactly this process; one that is gone is no error."""
    with _descriptor(process) as descriptor, suppress(ProcessLookupError):
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, number)


def send_signal_within(first: ProcessIdentity, pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is in the PID namespace of ``first``; one that is gone is no error.

    A server may end its processes so fast that a pid is somebody else's by now.
    """
    process = identity(pid)
    if process is None:
        return
    with _descriptor(process) as descriptor, suppress(OSError):
        if descriptor is not None and _namespace(pid) == _namespace(first.pid) and alive(first):
            signal.pidfd_send_signal(descriptor, number)


def _namespace(pid: int) -> tuple[int, int]:
    status = (_PROC / f"{pid}/ns/pid").stat()
    return status.st_dev, status.st_ino


def wait_for_end(processes: tuple[ProcessIdentity, ...], seconds: float) -> bool:
    """Wait until the first of ``processes`` has ended, at most ``seconds``; tell whether one has."""
    poll = select.poll()
    with ExitStack() as stack:
        for process in processes:
            descriptor = stack.enter_context(_descriptor(process))
            if descriptor is None:
                return True
            poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(seconds, 0.0) * 1000))


def reap(process: ProcessIdentity) -> None:
    """Bury an ended child of ours by its pid alone: after a re-execution no object of it is left."""
    if identity(process.pid) == process:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


@contextmanager
def _descriptor(process: ProcessIdentity) -> Generator[int | None]:
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        # The pid cannot change its owner while the descriptor is open, so this comparison decides for good.
        yield descriptor if identity(process.pid) == process else None
    finally:
        os.close(descriptor)


def _begotten(pid: int) -> list[int]:
    try:
        threads = list((_PROC / f"{pid}/task").iterdir())
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        with suppress(OSError):
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _pids() -> Iterator[int]:
    return (int(each.name) for each in _PROC.iterdir() if each.name.isdigit())


def _stat(pid: int) -> list[str]:
    try:
        text = (_PROC / f"{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _holds(pid: int, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        return any(_leads_to(entry, wanted) for entry in (_PROC / f"{pid}/fd").iterdir())
    return False


def _leads_to(descriptor: Path, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(descriptor.stat(), wanted)
    return False
