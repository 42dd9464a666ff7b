"""Serve one server that runs somewhere else by a gateway of its own, a child of this process, until a signal."""

from __future__ import annotations

import os
import socket
import tempfile
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
from thv_core.spi.gateways import GATEWAY_SOCKET, ROUTES_FILE, Gateway
from thv_core.state.files import connect_unix
from thv_supervisor.gateway_child import GatewayChild, serving
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
    route: Route,
    gateway: Gateway,
    ready: Callable[[RouteReport], None],
    values: Mapping[str, str] = NO_VALUES,
    workers: int = 1,
) -> None:
    """Serve a route until SIGINT or SIGTERM; calls in flight are finished then.

    Everything lies in a directory that is removed at the end; neither control nor its state is needed. This process
    has a single thread, because the gateway is forked from it.

    :param ready: called once, when the server answers.
    :param values: of the secrets that its headers need; they go to the gateway's memory only.
    :param workers: how many processes carry the traffic.
    :raises ThvError: when it does not, or when the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="thv-proxy-") as folder:
        directory = Path(folder)
        (directory / ROUTES_FILE).write_bytes(encode_document(RouteSnapshot(routes=(route,))))
        with serving(gateway, directory, workers) as child:
            try:
                report = _decisive(directory / GATEWAY_SOCKET, child, values)
            except (OSError, ThvError) as error:
                raise StartFailed(f"the gateway does not report: {error}") from None
            if report is not None and report.state is not RouteState.READY:
                raise _failure(report)
            if report is not None:
                ready(report)
            code = child.wait()
            if code and not child.asked:
                raise StartFailed(f"the gateway ended with {code}", hint="What it wrote before says why.")


def _decisive(path: Path, child: GatewayChild, values: Mapping[str, str]) -> RouteReport | None:
    """Return the first report that decides, or ``None`` when the gateway ends before there is one."""
    channel = _connected(path, child)
    if channel is None:
        return None
    with channel, channel.makefile("rb") as lines:
        if values:
            command = GatewayCommand(order=Order.VALUES, values=dict(values))
            channel.sendall(encode_document(command) + b"\n")
        for line in lines:
            report = decode_document(line, RouteReport, "the report")
            if report.state is not RouteState.STARTING:
                return report
    return None


def _connected(path: Path, child: GatewayChild) -> socket.socket | None:
    ends = time.monotonic() + START_SECONDS
    while not child.is_over:
        try:
            return connect_unix(path)
        except OSError:
            if time.monotonic() > ends:
                raise
        time.sleep(_PAUSE)
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
