"""Bind a listener of the API where it was asked for, and say who may come in there."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from thv_core.errors import InvalidRequest, PortUnavailable, ThvError
from thv_core.state.files import bind_unix, connect_unix
from thv_supervisor.control.api.requests import ListenerRequest

__all__ = ["BACKLOG", "Bound", "bind"]

BACKLOG = 64

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
USUAL = 80


@dataclass(frozen=True)
class Bound:
    """A socket that listens, though nobody is served yet; ``authorities`` are the values of ``Host`` that mean it.

    ``path`` is where a Unix socket lies, and ``inode`` the number of its file.
    """

    socket: socket.socket = field(repr=False)
    url: str
    authorities: frozenset[str] = frozenset()
    path: Path | None = None
    inode: int = 0

    def clear(self) -> None:
        """Remove the file of a Unix socket, unless another has taken its place."""
        if self.path is not None:
            with contextlib.suppress(FileNotFoundError):
                if self.path.lstat().st_ino == self.inode:
                    self.path.unlink()


def bind(asked: ListenerRequest) -> Bound:
    """Bind what a caller asks for.

    :raises InvalidRequest: when it cannot be meant, or may not be.
    :raises PortUnavailable: when somebody else listens there.
    """
    if asked.auth not in ("token", "none"):
        raise InvalidRequest(f"auth {asked.auth!r} is neither token nor none")
    return _bind_unix(Path(asked.socket)) if asked.socket else _bind_tcp(asked)


def _bind_unix(path: Path) -> Bound:
    if not path.is_absolute():
        raise InvalidRequest(f"socket {str(path)!r} is not an absolute path")
    try:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connect_unix(path, timeout=1.0).close()
            raise PortUnavailable(f"somebody listens at {path} already", hint="Choose another path.")
        bound = bind_unix(path)
        # At once: a socket on which nobody listens is taken for one that a killed process left.
        bound.listen(BACKLOG)
        return Bound(bound, f"unix://{path}", path=path, inode=path.lstat().st_ino)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be bound: {error.strerror or error}") from None


def _bind_tcp(asked: ListenerRequest) -> Bound:
    address = _address(asked.host, asked.auth != "none")
    if asked.auth == "none" and not address.is_loopback:
        raise InvalidRequest(
            f"auth none is for loopback alone, and {asked.host} is not", hint="Leave out --no-auth, or --host."
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # With its protocol named, asyncio sends small answers at once.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((str(address), asked.port))
        # At once: until then, whoever else sets SO_REUSEADDR can bind the port, too.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _unbound(asked, error) from None
    port: int = bound.getsockname()[1]
    host = f"[{address}]" if address.version == 6 else str(address)
    names = {*LOOPBACK, host} if address.is_loopback else {host}
    bare = names if port == USUAL else set[str]()
    return Bound(bound, f"http://{host}:{port}", frozenset({f"{name}:{port}" for name in names} | bare))


def _address(host: str, wants_token: bool) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        raise InvalidRequest(f"host {host!r} is no address", hint="Write an address of this machine.") from None
    if address.is_unspecified and wants_token:
        raise InvalidRequest(
            f"host {host} means every address, and then no name of it could be told from a foreign one",
            hint="Write the one address at which it is to be reached.",
        )
    return address


def _unbound(asked: ListenerRequest, error: OSError) -> ThvError:
    where = f"{asked.host}:{asked.port}"
    if error.errno == errno.EADDRINUSE:
        return PortUnavailable(f"{where} is taken", hint="Choose another port:  thv serve --port 0")
    return InvalidRequest(f"{where} cannot be bound: {os.strerror(error.errno or 0)}")
