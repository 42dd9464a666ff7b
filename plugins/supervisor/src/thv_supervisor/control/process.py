"""The life of the control process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from thv_core.errors import ThvError
from thv_core.kernel import Kernel, compose
from thv_core.loading.catalog import Catalog
from thv_core.model.route import RouteSnapshot
from thv_core.state.files import bind_unix, locked, write_atomically
from thv_core.state.paths import Paths
from thv_core.state.store import StateStore
from thv_supervisor.control.api.application import control_api
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.gateway_link import GatewayLink
from thv_supervisor.control.ground import Ground, ShellValues
from thv_supervisor.control.log_rotating import keep_small
from thv_supervisor.control.network_link import NetworkLink
from thv_supervisor.control.observing import Observatory
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.control.settling import Settlement
from thv_supervisor.control.succession import Handover, receive
from thv_supervisor.file_limit import raise_file_limit
from thv_supervisor.installations import installation

__all__ = ["main"]

log = logging.getLogger(__name__)

FAREWELL = 2
"""Seconds that open streams may take when control ends."""

PREDECESSOR = 30.0
"""Seconds that a predecessor may take to be gone."""


def main(lifeline: int, handover: int | None = None) -> None:
    """Decide what runs until SIGTERM, or until the supervisor is gone and ``lifeline`` closes."""
    logging.basicConfig(format="%(asctime)s control %(levelname)s %(message)s", level=logging.INFO)
    os.set_inheritable(lifeline, False)
    raise_file_limit()
    paths = Paths.from_environment(os.environ, sys.platform)
    try:
        kernel = compose(os.environ, sys.platform)
        kernel.furnish()
        with locked(kernel.paths.control_lock, PREDECESSOR):
            asyncio.run(_serve(kernel, lifeline, receive(handover)))
    except ThvError as error:
        log.critical("control cannot start: %s", error)
        write_atomically(paths.control_error, json.dumps(error.document()).encode())
        raise SystemExit(error.exit_code) from None


async def _serve(kernel: Kernel, lifeline: int, handed: Handover) -> None:
    asyncio.get_running_loop().add_reader(lifeline, os._exit, 0)
    ground = _ground(kernel, handed, lambda workload: reconciler.wake(workload))
    reconciler = Reconciler(ground)
    await reconciler.adopt()
    kernel.paths.control_error.unlink(missing_ok=True)
    tasks = [
        asyncio.create_task(ground.link.follow(handed.renew_gateway), name="gateway link"),
        asyncio.create_task(ground.network.follow(), name="network link"),
        asyncio.create_task(keep_small(kernel.paths.supervisor_log), name="log rotation"),
        asyncio.create_task(ground.observatory.watch(reconciler.runtimes, reconciler.end_strays), name="observatory"),
    ]
    for task in tasks:
        task.add_done_callback(_must_go_on)
    settlement = Settlement(installation(kernel.catalog), kernel, lifeline, ground.shell_values)
    api = control_api(reconciler, settlement)
    config = uvicorn.Config(
        api.application,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=FAREWELL,
    )
    await _Server(config, api.farewell).serve(sockets=[bind_unix(kernel.paths.control_socket)])
    for task in tasks:
        task.cancel()


class _Server(uvicorn.Server):
    """A server that tells those who have leased something when the process was asked to end."""

    def __init__(self, config: uvicorn.Config, farewell: Callable[[], None]) -> None:
        super().__init__(config)
        self._farewell = farewell

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._farewell()
        super().handle_exit(sig, frame)


def _must_go_on(task: asyncio.Task[None]) -> None:
    """End the process when what it lives for has ended: whoever starts it again finds everything."""
    if not task.cancelled():
        log.critical("the %s ended", task.get_name(), exc_info=task.exception())
        os._exit(1)


def _ground(kernel: Kernel, handed: Handover, changed: Callable[[str], None]) -> Ground:
    calls = DriverCalls(partial(_origin, kernel.catalog))
    return Ground(
        kernel=kernel,
        store=StateStore(kernel.paths.database),
        calls=calls,
        observatory=Observatory(kernel.drivers, calls, changed),
        link=GatewayLink(kernel.paths, changed, _whole(kernel)),
        network=NetworkLink(kernel.paths, changed),
        shell_values=ShellValues(handed.shell_values),
        observers=tuple(kernel.hooks.observers(kernel.surroundings)),
    )


def _whole(kernel: Kernel) -> RouteSnapshot:
    """Return what the settings say of the gateway as a whole."""
    settings = kernel.configuration
    return RouteSnapshot(shared_port=settings.gateway_shared_port)


def _origin(catalog: Catalog, driver: str) -> str:
    """Return how a message names a driver that is written ``KIND NAME``: with its distribution."""
    kind, name, *_ = [*driver.split(), ""]
    for plugin in catalog.of_kind(kind):
        if plugin.name == name:
            return f"the {kind} {name!r} of {plugin.origin}"
    return driver
