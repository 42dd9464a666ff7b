"""Serve one server that runs somewhere else by a gateway of its own, in this process, until a signal ends it."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from thv_core.errors import InvalidRequest, PortUnavailable, StartFailed, ThvError
from thv_core.model.document import decode_document, encode_document
from thv_core.model.route import GatewayCommand, Order, Route, RouteReport, RouteSnapshot, RouteState
from thv_core.model.run_config import RunConfig, checked
from thv_core.services.serving import client_terms, forward_headers, request_timeout
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE, Gateway, GatewaySeat
from thv_core.state.files import connect_unix
from thv_supervisor.real_paths import with_real_paths

__all__ = ["proxied", "remote_config", "remote_route"]

NO_VALUES: Mapping[str, str] = MappingProxyType({})

START_SECONDS = 20.0
"""How long the server may take to answer; a place in the network that is away longer is a reason to give up."""

_PAUSE = 0.02


def remote_config(name: str, target: str, keys: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a server that runs somewhere else.

    :param keys: the rest of it; a transport that is not among them is streamable HTTP.
    :raises InvalidRequest: when the name, the target or a key cannot be meant.
    """
    if not target:
        raise InvalidRequest(f"{target!r} is not the URL of an MCP endpoint", hint="https://mcp.example.com/mcp")
    return with_real_paths(checked(RunConfig(name=name, remote_url=target, **keys)))


def remote_route(config: RunConfig) -> Route:
    """Return the route of a proxy; a port is chosen when none is given, unless it listens on a Unix socket.

    :raises PortUnavailable: when nothing can listen on the host at all.
    """
    address = "127.0.0.1" if config.host == "localhost" else config.host
    usual = Route(workload="", incarnation="", port=0, log="").request_timeout
    return Route(
        workload=config.name,
        incarnation=f"{config.name}.1",
        host=address,
        port=config.port or (0 if config.socket else _free_port(address)),
        log=os.devnull,
        transport=config.transport,
        target_url=config.remote_url,
        forward_authorization=True,
        start_timeout=START_SECONDS,
        request_timeout=request_timeout(config, usual),
        terms=client_terms(config),
        forward_headers=forward_headers(config),
    )


def proxied(
    route: Route, gateway: Gateway, ready: Callable[[RouteReport], None], values: Mapping[str, str] = NO_VALUES
) -> None:
    """Serve a route until SIGINT or SIGTERM; calls in flight are finished then.

    Everything lies in a directory that is removed at the end; neither control nor its state is needed.

    :param ready: called in another thread, once, when the server answers.
    :param values: of the secrets that its headers need; they go to the gateway's memory only.
    :raises ThvError: when it does not, or when the port is taken.
    """
    lifeline, far_end = os.pipe()
    try:
        with tempfile.TemporaryDirectory(prefix="thv-proxy-") as folder:
            seat = GatewaySeat(directory=Path(folder), lifeline=lifeline)
            snapshot = encode_document(RouteSnapshot(routes=(route,)))
            (seat.directory / ROUTES_FILE).write_bytes(snapshot)
            watch = _Watch(seat.directory, far_end, ready, values)
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

    def __init__(
        self, directory: Path, far_end: int, ready: Callable[[RouteReport], None], values: Mapping[str, str]
    ) -> None:
        super().__init__(daemon=True)
        self._values = values
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
            if self._values:
                command = GatewayCommand(order=Order.VALUES, values=dict(self._values))
                channel.sendall(encode_document(command) + b"\n")
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
