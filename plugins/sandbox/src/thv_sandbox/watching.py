"""The watch: one thread that looks at every running sandbox several times a second.

It ends a sandbox whose memory no control group limits and that uses too much, keeps the logs short, and stops a server
for a moment that writes its log faster than it could be kept short. What it did stays in the notes of the deployment.
The thread ends with the last sandbox; after a crash of this process the next look at the deployments starts it anew.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from thv_core.model.quantity import memory_text
from thv_sandbox import cgroups
from thv_sandbox.ending import kill
from thv_sandbox.instances import DeploymentFiles, Instance
from thv_sandbox.logs import LOG_LIMIT, shorten
from thv_sandbox.processes import alive, descendants, send_signal_within
from thv_sandbox.usage import exceeds

__all__ = ["INTERVAL", "Watch", "note_memory"]

INTERVAL = 0.2
"""Seconds between two looks."""

_PAUSE_LOOKS = 5
_SIGNALLING_ROUNDS = 3


@dataclass
class _Watched:
    """One sandbox under watch: ``written`` bytes of log so far in floods, ``paused`` looks until it may go on."""

    instance: Instance
    files: DeploymentFiles
    written: int = 0
    paused: int = field(default=0)


class Watch:
    """Looks at sandboxes from a thread of its own while there are any."""

    def __init__(self, interval: float = INTERVAL) -> None:
        """Look every ``interval`` seconds."""
        self._interval = interval
        self._watched: dict[str, _Watched] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, instance: Instance, files: DeploymentFiles) -> None:
        """Look at a running sandbox from now on; one that is watched already stays as it is."""
        label = instance.deployment.label
        known = self._watched.get(label)
        if known is None or known.instance.server != instance.server:
            # Whoever stopped it may have been killed before it could let it go on.
            _go_on(instance, files)
            self._watched[label] = _Watched(instance=instance, files=files)
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="thv-sandbox-watch", daemon=True)
                self._thread.start()

    def look(self) -> None:
        """Look at every sandbox once; those that ended are forgotten."""
        for label, watched in tuple(self._watched.items()):
            if alive(watched.instance.server):
                # A sandbox that is removed at this very moment has no files any more.
                with suppress(OSError):
                    _look(watched)
            else:
                self._forget(label, watched)

    def _forget(self, label: str, watched: _Watched) -> None:
        if self._watched.get(label) is watched:
            del self._watched[label]

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            self.look()
            with self._starting:
                if not self._watched:
                    self._thread = None
                    return


def note_memory(instance: Instance, files: DeploymentFiles, *, ended: bool) -> None:
    """Note that a control group killed processes for their memory, if it did."""
    times = cgroups.killed_for_memory(instance.group) if instance.group else 0
    if times and ended:
        files.note("memory", _ended(instance))
    elif times:
        limit = memory_text(instance.memory)
        files.note("memory", f"processes of it were killed, {times} so far: together they used more than {limit}")


def _ended(instance: Instance) -> str:
    return f"ended: it used more than {memory_text(instance.memory)} of memory"


def _look(watched: _Watched) -> None:
    instance, files = watched.instance, watched.files
    if instance.watched and exceeds(instance.server.pid, instance.memory, instance.folders):
        files.note("memory", _ended(instance))
        kill(instance.server)
        return
    note_memory(instance, files, ended=False)
    if watched.paused:
        watched.paused -= 1
        if not watched.paused:
            _go_on(instance, files)
    _bound_log(watched)


def _bound_log(watched: _Watched) -> None:
    size = watched.files.log.stat().st_size
    if size > 2 * LOG_LIMIT:
        # So much since the last look: without a pause it would write more than can be copied aside meanwhile.
        _stop(watched.instance, watched.files)
        watched.paused = _PAUSE_LOOKS
        watched.written += size
        watched.files.note(
            "log",
            f"floods its log ({memory_text(watched.written)} so far) and is slowed down; "
            f"only the last {memory_text(LOG_LIMIT)} are kept",
        )
    shorten(watched.files, LOG_LIMIT)


def _stop(instance: Instance, files: DeploymentFiles) -> None:
    files.slowed.touch(mode=0o600)
    # A process that was made between the look and the signal is found in the next round.
    for _ in range(_SIGNALLING_ROUNDS):
        _signal(instance, signal.SIGSTOP)


def _go_on(instance: Instance, files: DeploymentFiles) -> None:
    if files.slowed.exists():
        _signal(instance, signal.SIGCONT)
        files.slowed.unlink(missing_ok=True)


def _signal(instance: Instance, number: signal.Signals) -> None:
    for pid in descendants(instance.server.pid):
        send_signal_within(instance.server, pid, number)
