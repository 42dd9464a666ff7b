"""The parent of a server that :class:`thv_testkit.fake_runtime.FakeRuntime` started; a program of its own.

It detaches from whoever starts it, reports the pid of the server while that is still held before its first instruction,
and lets it run when a byte comes through the gate. It writes the pid and, in the end, the exit code into the folder of
the deployment. As long as it or the server lives, the lock whose descriptor it inherits is held: that is how a
successor knows that the server runs, with no pid that could mean somebody else by then.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

__all__: list[str] = []


def _write(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


def _launch(folder: Path, gate: int, report: int, command: list[str]) -> None:
    os.setsid()
    failure, running = os.pipe()
    server = os.fork()
    if server == 0:
        _run(gate, running, command)
    os.close(gate)
    os.close(running)
    os.write(report, f"{server}\n".encode())
    with os.fdopen(failure, "rb") as told:
        reason = told.read()
    if reason:
        os.waitpid(server, 0)
        os.write(report, reason)
        return
    _write(folder / "pid", str(server))
    os.close(report)
    # An exit by a signal is written the way a shell does.
    code = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
    _write(folder / "exit", str(code if code >= 0 else 128 - code))
    # Whatever the server left behind ends with it; this process leads the group and ends too.
    os.killpg(0, signal.SIGKILL)


def _run(gate: int, running: int, command: list[str]) -> None:
    """Become the server once the gate opens; an end of the gate means that nobody wants it any more."""
    reason = "nobody let it start"
    if os.read(gate, 1):
        # The interpreter ignores it, and a server would inherit that.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvp(command[0], command)  # noqa: S606 - the command is the plan's
        except OSError as error:
            reason = f"{command[0]}: {error.strerror}"
    os.write(running, reason.encode())
    os._exit(127)


if __name__ == "__main__":
    gate, report = int(sys.argv[2]), int(sys.argv[3])
    for descriptor in (gate, report):
        os.set_inheritable(descriptor, False)
    # The process that was started returns at once, so that nobody has to wait for the one that stays.
    if os.fork() == 0:
        _launch(Path(sys.argv[1]), gate, report, sys.argv[4:])
    os._exit(0)
