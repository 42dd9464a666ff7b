"""Listeners: one per address, retried for as long as it cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISSOCK

from thv_core.errors import PortUnavailable, SettingsError
from thv_gateway.process.channel import bind_private
from thv_gateway.web.certificates import Certificate
from thv_gateway.web.limits import LIMITS, Limits
from thv_gateway.web.lobby import Lobby, Site
from thv_gateway.web.protocol import Connection

__all__ = ["Address", "Listener"]

_BACKLOG = 1024
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_LONGEST_PERIOD = 5.0
_HANDSHAKE_SECONDS = 10.0
_VANISHED_MILLISECONDS = 90_000
"""So long what was sent to a client may stay unacknowledged: it was switched off, or its network is gone."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where is listened: on ``host`` and ``port``, or on a Unix socket; with a certificate it is TLS."""

    host: str = ""
    port: int = 0
    socket: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def place(self) -> object:
        """What no two listeners can have at once."""
        return self.socket or (self.host, self.port)


class Listener:
    """Listens on one address for as long as it is wanted.

    ``problem`` says why it does not, and ``code`` is that of the error.

    :param site: answers the requests.
    :param changed: called when ``bound`` or ``problem`` changes.
    :param shared: whether another listener of ours has the same port; see :meth:`share`.
    """

    def __init__(
        self,
        address: Address,
        site: Site,
        changed: Callable[[], None],
        *,
        shared: bool = False,
        limits: Limits = LIMITS,
    ) -> None:
        self.bound = False
        self.problem = ""
        self.code = ""
        self._address = address
        self._shared = shared
        self._changed = changed
        self._lobby = Lobby(site, limits, secure=bool(address.certificate))
        self._certificate = Certificate(address.certificate, address.key) if address.certificate else None
        self._server: asyncio.Server | None = None
        self._mark: tuple[int, int] | None = None
        self._task = asyncio.get_running_loop().create_task(self._serve())

    @property
    def is_used(self) -> bool:
        """Whether a connection is open."""
        return len(self._lobby) > 0

    def share(self, *, wanted: bool) -> None:
        """Let another listener of this user be bound to the same port on another host, or no more.

        A host may include another one (0.0.0.0), and both have to be there while one takes the place of the other.
        """
        self._shared = wanted
        if not self._address.socket:
            for bound in self._server.sockets if self._server is not None else ():
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(wanted))

    def drain(self) -> None:
        """Take no new connections, and refuse what comes on the open ones; calls in flight go on."""
        self._lobby.is_draining = True
        self._unbind()

    def stop_accepting(self) -> None:
        """Take no new connections; every open one is closed after the response that it is sending."""
        self._unbind()
        self._lobby.dismiss()

    def close(self) -> None:
        """Stop at once; open connections are closed."""
        self._task.cancel()
        self._unbind()
        self._lobby.close()

    def _unbind(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._remove_socket()
        elif not self.bound:
            self._task.cancel()

    def _remove_socket(self) -> None:
        """Remove the file of a Unix socket, unless another one has its place."""
        path = Path(self._address.socket)
        if self._mark is not None and _mark_of(path) == self._mark:
            path.unlink(missing_ok=True)

    async def _serve(self) -> None:
        await self._bind()
        limits = self._lobby.limits
        period = min(_LONGEST_PERIOD, limits.head_seconds / 4, limits.body_seconds / 4, limits.idle_seconds / 4)
        while True:
            await asyncio.sleep(period)
            self._lobby.expire(asyncio.get_running_loop().time())
            if self._certificate is not None:
                self._certificate.renew()

    async def _bind(self) -> None:
        pause = _FIRST_PAUSE
        while not self.bound:
            try:
                context = self._certificate.context() if self._certificate is not None else None
                self._server = await self._listen(context)
            except SettingsError as error:
                self._say(error.message, error.code)
            except OSError as error:
                self._say(f"{self._name} cannot be used: {_why(error)}", PortUnavailable.code)
            else:
                self.bound = True
                self.problem = self.code = ""
                self._changed()
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _listen(self, context: ssl.SSLContext | None) -> asyncio.Server:
        loop, address = asyncio.get_running_loop(), self._address
        patience = _HANDSHAKE_SECONDS if context is not None else None
        if address.socket:
            bound = _bound(Path(address.socket))
            self._mark = _mark_of(Path(address.socket))
            return await loop.create_unix_server(
                self._protocol, sock=bound, backlog=_BACKLOG, ssl=context, ssl_handshake_timeout=patience
            )
        server = await loop.create_server(
            self._protocol,
            address.host,
            address.port,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=patience,
            reuse_address=True,
            reuse_port=self._shared,
        )
        for each in server.sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _VANISHED_MILLISECONDS)
        return server

    @property
    def _name(self) -> str:
        address = self._address
        return f"the socket {address.socket}" if address.socket else f"port {address.port} on {address.host}"

    def _say(self, problem: str, code: str) -> None:
        if problem != self.problem:
            self.problem, self.code = problem, code
            self._changed()

    def _protocol(self) -> asyncio.Protocol:
        return Connection(self._lobby)


def _bound(path: Path) -> socket.socket:
    """Bind a Unix socket in the place of one on which nobody listens any more, and of nothing else.

    :raises OSError: when something else has its place.
    """
    if path.exists():
        if not S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "a file that is no socket has its place")
        if _is_answered(path):
            raise OSError(errno.EADDRINUSE, "in use")
    return bind_private(path)


def _is_answered(path: Path) -> bool:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            # A socket address holds about 107 bytes; a longer path is reached through its folder.
            return probe.connect_ex(f"/proc/self/fd/{folder}/{path.name}") in (0, errno.EAGAIN)
    finally:
        os.close(folder)


def _mark_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens on it"
    if error.errno == errno.EEXIST:
        return "a file that is no socket has its place"
    return os.strerror(error.errno) if error.errno else str(error)
