"""Read the logs of a workload, whole, the last lines, or on and on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from thv_core.model.plan import Deployment
from thv_core.model.workload import Workload
from thv_core.spi.runtimes import Runtime
from thv_supervisor.control.ground import Ground

__all__ = ["proxy_log", "server_log"]

PAUSE = 0.2
CHUNK = 1 << 16


def server_log(workload: Workload, ground: Ground, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Yield what the server of the last life of a workload wrote to its standard error.

    :raises NotFound: when it has not run since it was created.
    """
    runtime = ground.kernel.drivers.get(Runtime, workload.config.runtime)
    deployment = Deployment(workload=workload.name, generation=workload.generation)
    return runtime.logs(deployment, tail=tail, follow=follow)


def proxy_log(workload: Workload, ground: Ground, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Yield what the gateway noted about a workload; with ``follow`` until the workload is removed."""
    path = ground.kernel.paths.proxy_log(workload.name)

    def exists() -> bool:
        return workload.name in ground.store.names()

    return _read(path, tail, exists if follow else None)


def _read(path: Path, tail: int | None, going_on: Callable[[], bool] | None) -> Iterator[bytes]:
    path.touch(0o600)
    with path.open("rb") as stream:
        if tail is not None:
            yield b"".join(deque(stream, maxlen=tail))
        while True:
            if chunk := stream.read(CHUNK):
                yield chunk
            elif going_on is None or not going_on():
                return
            else:
                time.sleep(PAUSE)
                yield b""
