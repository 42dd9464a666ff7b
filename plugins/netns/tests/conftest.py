"""Sandboxes with nothing but a network namespace, and the program that makes sockets in them."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import thv_netns

PROGRAM = str(Path(thv_netns.__path__[0], "enter.py"))
ORDINARY_UID = 47114
"""No account of it needs to exist: the kernel asks for none."""

ISOLATED = ("bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--disable-userns", "--cap-drop", "ALL")
SEEN = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev")
PYTHON = "/usr/bin/python3"
"""An interpreter that every user may execute."""

LIMIT = 20.0


def becoming(uid: int) -> dict[str, Any]:
    """Return what makes a subprocess run as ``uid``, which only root can ask for."""
    return {"user": uid, "group": uid, "extra_groups": []} if os.getuid() == 0 and uid else {}


@dataclass(frozen=True)
class Answer:
    """What the program said, and the sockets that came with it."""

    document: dict[str, Any]
    sockets: list[socket.socket] = field(default_factory=list)

    def of(self, kind: str, port: int = 0) -> socket.socket:
        """Return the socket of a kind and port."""
        described = [(each["kind"], each["port"]) for each in self.document["sockets"]]
        return self.sockets[described.index((kind, port))]


class Sandbox:
    """A process that a test talks to, alone in its network namespace, held before it starts when ``held``."""

    def __init__(self, uid: int, held: bool = False) -> None:
        self.uid = uid
        info, told = os.pipe()
        self.gate, gated = os.pipe()
        blocked = ("--block-fd", str(self.gate)) if held else ()
        self.process = subprocess.Popen(
            [*ISOLATED, *SEEN, "--info-fd", str(told), *blocked, PYTHON, "-I", "-S", "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(told, self.gate),
            cwd="/",
            **becoming(uid),
        )
        os.close(told)
        os.close(self.gate)
        self.gate = gated
        with os.fdopen(info, "rb") as reading:
            self.pid = int(json.loads(reading.read())["child-pid"])

    @property
    def start(self) -> int:
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19])

    def release(self) -> None:
        """Let a held process go on."""
        os.write(self.gate, b"\n")

    def run(self, code: str) -> Any:
        """Run one expression inside and return its value."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(code).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.gate)
        with self.process:
            self.process.kill()


_SERVER = """
import errno, json, socket, sys
def attempt(code):
    try:
        return eval(code)
    except OSError as error:
        return f"{type(error).__name__} {errno.errorcode.get(error.errno, error.errno)}"
for line in sys.stdin:
    print(json.dumps(attempt(json.loads(line))), flush=True)
"""


class Entering:
    """The program, started and waiting for its order."""

    def __init__(self, uid: int = 0) -> None:
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.connection.settimeout(LIMIT)
        command = [PYTHON, "-I", "-S", "-E", PROGRAM, str(theirs.fileno())]
        with theirs, Path(PROGRAM).open("rb") as program:
            # An ordinary user may not be able to read the folders above the source.
            command[4:5] = [f"/proc/self/fd/{program.fileno()}"]
            self.process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(), program.fileno()),
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                **becoming(uid),
            )

    def order(self, pid: int, start: int, **plan: Any) -> Answer:
        """Give the order and return the answer."""
        whole = {"pool": "", "ports": [], "proxy": 0, "dns": 0, "connectors": 0, **plan}
        self.connection.send(json.dumps({"pid": pid, "start": start, "plan": whole}).encode())
        descriptors = array.array("i")
        text, ancillary, _, _ = self.connection.recvmsg(1 << 16, socket.CMSG_SPACE(253 * 4))
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        return Answer(json.loads(text), [socket.socket(fileno=each) for each in descriptors])

    def end(self) -> int:
        """Close the connection and return how the program ended."""
        self.connection.close()
        with self.process:
            return self.process.wait(LIMIT)


class Bench:
    """Makes sandboxes and programs, and clears away what a test leaves."""

    def __init__(self) -> None:
        self._left: list[Any] = []

    def sandbox(self, uid: int, held: bool = False) -> Sandbox:
        sandbox = Sandbox(uid, held)
        self._left.append(sandbox)
        return sandbox

    def entering(self, uid: int = 0) -> Entering:
        entering = Entering(uid)
        self._left.append(entering)
        return entering

    def made(self, sandbox: Sandbox, uid: int = 0, **plan: Any) -> Answer:
        """Make the sockets of a plan in a sandbox, as the user ``uid``."""
        entering = self.entering(uid)
        answer = entering.order(sandbox.pid, sandbox.start, **plan)
        self._left += answer.sockets
        assert entering.process.wait(LIMIT) == 0
        return answer

    def clear(self) -> None:
        for each in reversed(self._left):
            each.close() if isinstance(each, socket.socket) else each.end()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give what makes sandboxes."""
    bench = Bench()
    yield bench
    bench.clear()


PAIRS = (
    {"root into its own": (0, 0), "root into another's": (ORDINARY_UID, 0), "an ordinary user": (ORDINARY_UID,) * 2}
    if os.getuid() == 0
    else {"an ordinary user": (os.getuid(), os.getuid())}
)


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def users(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Give the owner of a sandbox and who enters it."""
    pair: tuple[int, int] = request.param
    return pair
