"""Make the sockets of a server's network namespace, by a program that goes there, and hand them to the gateway.

The program of ``thv_netns`` is started before the namespace exists, so that its start costs no time: it waits on a
socket for its order, answers with descriptors, and ends. Everything here runs in worker threads.
"""

from __future__ import annotations

import array
import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec

import thv_netns
from thv_core.errors import RuntimeUnavailable, StartFailed, ThvError
from thv_core.model.document import Document
from thv_core.model.network import Handover, MadeSocket, Namespace
from thv_supervisor.control.outlets import MOST_SOCKETS, Outward

__all__ = ["Hand", "connecting"]

MAKE_LIMIT = 10.0
FAREWELL = 2.0
ANSWER_LIMIT = 1 << 16
PROGRAM = str(Path(thv_netns.__path__[0], "enter.py"))

Hand = Callable[[Handover, tuple[socket.socket, ...]], None]
"""Takes over the sockets of a handover, and raises what the gateway has against them."""

_HINTS = {
    "EPERM": "This user may not enter the namespaces of the server. See what isolates it:  thv runtime check",
    "EACCES": "This user may not enter the namespaces of the server. See what isolates it:  thv runtime check",
    "EADDRINUSE": "Something listens there already. Another attempt follows when it is gone.",
    "EMFILE": "Too many files are open. Raise the limit:  ulimit -n",
    "ENFILE": "Too many files are open on this machine.",
}
_HINT = "See what isolates servers here:  thv runtime check"


class _Answer(Document, frozen=True, kw_only=True):
    """What the program says: the sockets, or the error and the name of its number."""

    sockets: tuple[MadeSocket, ...] = ()
    error: str = ""
    errno: str = ""


@contextlib.contextmanager
def connecting(outward: Outward, hand: Hand) -> Generator[Callable[[Namespace], None]]:
    """Yield what a runtime calls with the namespace of the server while it is still held.

    What it yields raises :class:`StartFailed` or :class:`RuntimeUnavailable`; nothing is left open then.

    :raises RuntimeUnavailable: when the program cannot be started.
    """
    if not outward.is_needed:
        yield _nothing
        return
    with _envoy() as connection:

        def connect(namespace: Namespace) -> None:
            made, sockets = _made(connection, namespace, outward)
            hand(outward.handover(made), sockets)

        yield connect


def _nothing(namespace: Namespace) -> None:
    """Make no socket: the server speaks stdio and reaches nothing."""


@contextlib.contextmanager
def _envoy() -> Generator[socket.socket]:
    """Yield the connection to a program that waits for its order, and see it end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.settimeout(MAKE_LIMIT)
        with theirs:
            process = _started(theirs.fileno())
        try:
            yield ours
        finally:
            # Whatever it was doing, it reads the end of its socket then.
            ours.close()
            _buried(process)


def _started(descriptor: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", PROGRAM, str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            env={},
            cwd="/",
        )
    except OSError as error:
        raise _unavailable("the program that makes sockets cannot be started", str(error)) from error


def _buried(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _made(
    connection: socket.socket, namespace: Namespace, outward: Outward
) -> tuple[tuple[MadeSocket, ...], tuple[socket.socket, ...]]:
    label = outward.deployment.label
    order = {"pid": namespace.pid, "start": namespace.start, "plan": outward.plan}
    try:
        connection.send(msgspec.json.encode(order))
        text, sockets = _received(connection)
    except TimeoutError:
        raise _unavailable(f"the network of {label} was not made within {MAKE_LIMIT:g} s") from None
    except OSError as error:
        raise _unavailable(f"the network of {label} could not be made", str(error)) from error
    try:
        return _checked(text, label, len(sockets)), sockets
    except ThvError:
        for each in sockets:
            each.close()
        raise


def _received(connection: socket.socket) -> tuple[bytes, tuple[socket.socket, ...]]:
    descriptors = array.array("i")
    # socket.recv_fds would let what this process starts meanwhile inherit them.
    text, ancillary, _, _ = connection.recvmsg(
        ANSWER_LIMIT, socket.CMSG_SPACE(MOST_SOCKETS * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return text, tuple(socket.socket(fileno=each) for each in descriptors)


def _checked(text: bytes, label: str, count: int) -> tuple[MadeSocket, ...]:
    try:
        answer = msgspec.json.decode(text, type=_Answer)
    except msgspec.DecodeError as error:
        raise _unavailable(f"the network of {label} could not be made", f"no answer: {error}") from None
    if answer.error == "gone":
        raise StartFailed(f"{label} ended before its network was made", hint="Nothing was left behind.")
    if answer.error:
        hint = _HINTS.get(answer.errno, _HINT)
        raise RuntimeUnavailable(f"the network of {label} could not be made", evidence=[answer.error], hint=hint)
    if len(answer.sockets) != count:
        raise _unavailable(
            f"the network of {label} could not be made", f"{count} of {len(answer.sockets)} sockets arrived"
        )
    return answer.sockets


def _unavailable(message: str, *evidence: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(message, evidence=evidence, hint=_HINT)
