"""The life of the control process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable

import uvicorn

from thv_core.kernel import Kernel, compose
from thv_core.state.files import bind_unix, locked
from thv_core.state.store import StateStore
from thv_supervisor.control.api import application
from thv_supervisor.control.driver_calls import DriverCalls
from thv_supervisor.control.gateway_link import GatewayLink
from thv_supervisor.control.ground import Ground, ShellValues
from thv_supervisor.control.observing import Observatory
from thv_supervisor.control.reconciler import Reconciler
from thv_supervisor.control.settling import Settlement
from thv_supervisor.control.succession import Handover, receive
from thv_supervisor.installations import installation

__all__ = ["main"]

PREDECESSOR = 30.0
"""Seconds that a predecessor may take to be gone."""


def main(lifeline: int, handover: int | None = None) -> None:
    """Decide what runs until SIGTERM, or until the supervisor is gone and ``lifeline`` closes."""
    logging.basicConfig(format="%(asctime)s control %(levelname)s %(message)s", level=logging.INFO)
    os.set_inheritable(lifeline, False)
    kernel = compose(os.environ, sys.platform)
    with locked(kernel.paths.control_lock, PREDECESSOR):
        asyncio.run(_serve(kernel, lifeline, receive(handover)))


async def _serve(kernel: Kernel, lifeline: int, handed: Handover) -> None:
    asyncio.get_running_loop().add_reader(lifeline, os._exit, 0)
    ground = _ground(kernel, handed, lambda workload: reconciler.wake(workload))
    reconciler = Reconciler(ground)
    await reconciler.adopt()
    tasks = [
        asyncio.create_task(ground.link.follow(handed.renew_gateway), name="gateway link"),
        asyncio.create_task(ground.observatory.watch(reconciler.runtimes), name="observatory"),
    ]
    settlement = Settlement(installation(), kernel, lifeline, ground.shell_values)
    config = uvicorn.Config(application(reconciler, settlement), lifespan="off", log_config=None, access_log=False)
    await uvicorn.Server(config).serve(sockets=[bind_unix(kernel.paths.control_socket)])
    for task in tasks:
        task.cancel()


def _ground(kernel: Kernel, handed: Handover, changed: Callable[[str], None]) -> Ground:
    calls = DriverCalls()
    return Ground(
        kernel=kernel,
        store=StateStore(kernel.paths.database),
        calls=calls,
        observatory=Observatory(kernel.drivers, calls, changed),
        link=GatewayLink(kernel.paths, changed),
        shell_values=ShellValues(handed.shell_values),
        observers=tuple(kernel.hooks.observers(kernel.surroundings)),
    )
