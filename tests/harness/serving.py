"""``thv serve`` in the foreground: its listener, what it said, and its end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.home import Thv, heed_interrupts, wait_for


class Serving:
    """A running ``thv serve``; ``said`` is what it wrote to standard error so far."""

    def __init__(self, thv: Thv, *flags: str, environment: dict[str, str] | None = None) -> None:
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process that writes it
        self.process = subprocess.Popen(
            [*thv.before, thv.command, "serve", *flags],
            env={**thv.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._told,
            stderr=self._told,
            preexec_fn=heed_interrupts,
        )

    @property
    def said(self) -> str:
        """Everything that it wrote."""
        self._told.seek(0)
        return self._told.read()

    def url(self) -> str:
        """Wait until it says where it listens, and return that."""
        found = wait_for(lambda: re.search(r"http://[\d.:\[\]]+\d", self.said) or self.process.poll() is not None)
        assert isinstance(found, re.Match), self.said
        return found[0]

    def socket(self, path: Path) -> Path:
        """Wait until it listens on this Unix socket."""
        wait_for(lambda: (path.is_socket() and str(path) in self.said) or self.process.poll() is not None)
        assert path.is_socket(), self.said
        return path

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        """End it in any case."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL) if self.process.poll() is None else None
        self.process.wait(30)
        self._told.close()


@contextlib.contextmanager
def served(thv: Thv, *flags: str, environment: dict[str, str] | None = None) -> Iterator[Serving]:
    """Hold a ``thv serve`` with these flags."""
    serving = Serving(thv, *flags, environment=environment)
    try:
        yield serving
    finally:
        serving.close()


def free_port() -> int:
    """Return a port on which nobody listens at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def listens(port: int) -> bool:
    """Tell whether anybody accepts connections at a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
