"""What servers do to whoever wants to stop them: ignore SIGTERM, and leave children behind."""

from __future__ import annotations

import fcntl
import os
import signal

__all__ = ["hold", "ignore_terminate"]


def hold(path: str) -> None:
    """Fork a child that ignores SIGTERM and keeps the file at ``path`` locked (``flock``) as long as it lives."""
    if not path:
        return
    # The lock is taken before the fork, so that whoever hears an answer of the server knows that the child has it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.fork():
        os.close(descriptor)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def ignore_terminate(stubborn: bool) -> None:
    """Ignore SIGTERM from now on if ``stubborn``."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
