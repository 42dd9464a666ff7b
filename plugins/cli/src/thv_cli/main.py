"""The entry point of the ``thv`` command: it imports the rest when Ctrl-C cannot be a traceback any more."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    # Whoever ignores SIGINT for us, such as nohup or a shell's &, means it.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _end_at_once)
    from thv_cli.invocation import run_process  # takes most of the time in which there is nothing to clean up

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run_process()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if interruptible:
        signal.signal(signal.SIGINT, _end_at_once)
    sys.exit(code)


def _end_at_once(*_: object) -> None:
    os._exit(_INTERRUPTED)
