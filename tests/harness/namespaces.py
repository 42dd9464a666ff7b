"""Network namespaces that live as long as these tests hold their descriptors: nothing is left, whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NEW_MOUNTS, NEW_NETWORK = 0x00020000, 0x40000000
BIND, PRIVATE, RECURSIVE = 0x1000, 0x40000, 0x4000

_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace, and a mount namespace in which some files are others.

    ``files`` maps paths of this machine to the files that programs inside see there.
    """

    def __init__(self, files: Mapping[str, Path] | None = None) -> None:
        # What a thread unshares is its own, and the thread ends at once.
        with ThreadPoolExecutor(1) as thread:
            self._network, self._mounts = thread.submit(_made, files or {}).result()
        self.run("ip", "link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """Where programs of this machine find the network namespace."""
        return f"/proc/{os.getpid()}/fd/{self._network}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that make it run inside."""
        return ("nsenter", f"--net={self.path}", f"--mount=/proc/{os.getpid()}/fd/{self._mounts}", "--")

    def run(self, *command: str) -> str:
        """Run a command inside that must succeed, and return what it printed."""
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let the sockets that this thread makes meanwhile be inside; they stay there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self._network, NEW_NETWORK)
            yield
        finally:
            _call("setns", home, NEW_NETWORK)
            os.close(home)

    def close(self) -> None:
        """Let go of both; they vanish with the last process and socket inside."""
        os.close(self._network)
        os.close(self._mounts)


def _made(files: Mapping[str, Path]) -> tuple[int, int]:
    _call("unshare", NEW_NETWORK | NEW_MOUNTS)
    _call("mount", b"none", b"/", None, PRIVATE | RECURSIVE, None)
    for path, shown in files.items():
        _call("mount", os.fsencode(shown), os.fsencode(os.path.realpath(path)), None, BIND, None)
    opened = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
    return opened[0], opened[1]


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
