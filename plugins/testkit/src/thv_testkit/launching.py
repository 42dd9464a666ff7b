"""The parent of a server that :class:`thv_testkit.fake_runtime.FakeRuntime` started; a program of its own.

It detaches from whoever starts it, runs the server, and writes its pid and, in the end, its exit code into the folder
of the deployment. As long as it or the server lives, the lock whose descriptor it inherits is held: that is how a
successor knows that the server runs, with no pid that could mean somebody else by then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

__all__: list[str] = []


def _write(file: Path, text: str) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)


def _launch(folder: Path, lock: int, command: list[str]) -> None:
    os.setsid()
    try:
        server = subprocess.Popen(command, pass_fds=[lock])
    except OSError as error:
        _write(folder / "failure", f"{command[0]}: {error.strerror}")
        return
    _write(folder / "pid", str(server.pid))
    # An exit by a signal is written the way a shell does.
    code = server.wait()
    _write(folder / "exit", str(code if code >= 0 else 128 - code))
    # Whatever the server left behind ends with it; this process leads the group and ends too.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    # The process that was started returns at once, so that nobody has to wait for the one that stays.
    if os.fork() == 0:
        _launch(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    os._exit(0)
