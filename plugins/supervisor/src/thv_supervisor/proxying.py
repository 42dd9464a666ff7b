"""Serve one server that runs somewhere else by a gateway of its own, in this process, until a signal ends it."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from thv_core.errors import InvalidRequest, PortUnavailable, StartFailed, ThvError
from thv_core.model.document import decode_document, encode_document
from thv_core.model.names import valid_name
from thv_core.model.route import Route, RouteReport, RouteSnapshot, RouteState
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE, Gateway, GatewaySeat
from thv_core.state.files import connect_unix

__all__ = ["proxied", "remote_route"]

START_SECONDS = 20.0
"""How long the server may take to answer; a place in the network that is away longer is a reason to give up."""

_LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
_PAUSE = 0.02
_TARGET = re.compile(r"https?://[^/?#@]+([/?#]|\Z)")
_TARGET_HINT = "Write it like  https://mcp.example.com/mcp"


def remote_route(name: str, target: str, host: str, port: int) -> Route:
    """Return the route of a proxy; a port is chosen when none is given.

    :raises InvalidRequest: when the name, the target or the host cannot be meant.
    :raises PortUnavailable: when nothing can listen on the host at all.
    """
    address = _LOOPBACK.get(host)
    if address is None:
        raise InvalidRequest(
            f"host {host!r} is not a loopback address",
            hint="Nothing listens beyond loopback without authentication. Use 127.0.0.1.",
        )
    if not _TARGET.match(target):
        raise InvalidRequest(f"{target!r} is not the URL of an MCP endpoint", hint=_TARGET_HINT)
    return Route(
        workload=valid_name(name),
        incarnation=f"{name}.1",
        host=address,
        port=port or _free_port(address),
        log=os.devnull,
        transport="streamable-http",
        target_url=target,
        forward_authorization=True,
        start_timeout=START_SECONDS,
    )


def proxied(route: Route, gateway: Gateway, ready: Callable[[RouteReport], None]) -> None:
    """Serve a route until SIGINT or SIGTERM; calls in flight are finished then.

    Everything lies in a directory that is removed at the end; neither control nor its state is needed.

    :param ready: called in another thread, once, when the server answers.
    :raises ThvError: when it does not, or when the port is taken.
    """
    lifeline, far_end = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="thv-proxy-") as folder:
            seat = GatewaySeat(directory=Path(folder), lifeline=lifeline)
            snapshot = encode_document(RouteSnapshot(routes=(route,)))
            (seat.directory / ROUTES_FILE).write_bytes(snapshot)
            watch = _Watch(seat.directory, far_end, ready)
            watch.start()
            try:
                gateway.serve(seat)
            finally:
                watch.leave()
    finally:
        os.close(lifeline)
    if watch.failure is not None:
        raise watch.failure


class _Watch(threading.Thread):
    """Waits for the first report that decides, and ends the gateway when it is a bad one.

    ``failure`` is why. It owns ``far_end``, whose closing tells the gateway to end at once.
    """

    def __init__(self, directory: Path, far_end: int, ready: Callable[[RouteReport], None]) -> None:
        super().__init__(daemon=True)
        self.failure: ThvError | None = None
        self._path = directory / GATEWAY_SOCKET
        self._far_end = far_end
        self._ready = ready
        self._left = threading.Event()

    def run(self) -> None:
        """Read reports until one decides."""
        try:
            report = self._decisive()
        except (OSError, ThvError) as error:
            self.failure = StartFailed(f"the gateway does not report: {error}")
        else:
            if report is None:
                return
            if report.state is RouteState.READY:
                self._ready(report)
                return
            self.failure = _failure(report)
        os.close(self._far_end)
        self._far_end = -1

    def leave(self) -> None:
        """Watch no more: the gateway has ended."""
        self._left.set()
        self.join()
        if self._far_end >= 0:
            os.close(self._far_end)

    def _decisive(self) -> RouteReport | None:
        channel = self._connected()
        if channel is None:
            return None
        with channel, channel.makefile("rb") as lines:
            for line in lines:
                report = decode_document(line, RouteReport, "the report")
                if report.state is not RouteState.STARTING:
                    return report
        return None

    def _connected(self) -> socket.socket | None:
        ends = time.monotonic() + START_SECONDS
        while not self._left.wait(_PAUSE):
            try:
                return connect_unix(self._path)
            except OSError:
                if time.monotonic() > ends:
                    raise
        return None


def _failure(report: RouteReport) -> ThvError:
    if report.error_code == PortUnavailable.code:
        return PortUnavailable(report.reason, hint="Leave --port out to have one chosen.")
    return StartFailed(report.reason, hint="Check the URL of --target-uri: it is the server's whole MCP endpoint.")


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise PortUnavailable(f"nothing can listen on {address}: {error.strerror}") from None
