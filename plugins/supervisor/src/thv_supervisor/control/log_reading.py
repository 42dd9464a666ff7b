"""Read the logs of a workload, whole, the last lines, or on and on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from thv_core.model.plan import Deployment
from thv_core.model.workload import Workload
from thv_core.spi.runtimes import Runtime
from thv_supervisor.control.ground import Ground

__all__ = ["proxy_log", "server_log"]

PAUSE = 0.2
CHUNK = 1 << 16
OPEN_LIMIT = 30.0


async def server_log(workload: Workload, ground: Ground, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Return what the server of a workload wrote to its standard error, its former life's before its present one's.

    :raises NotFound: when it has not run since it was created.
    """
    name = workload.config.runtime
    observed = ground.observatory.sees(name, workload.name) or ()
    lives = sorted((each.deployment for each in observed), key=lambda each: each.generation)
    present = lives[-1] if lives else Deployment(workload=workload.name, generation=workload.generation)

    def opened() -> Iterator[bytes]:
        runtime = ground.kernel.drivers.get(Runtime, name)
        former = [runtime.logs(each) for each in lives[:-1]] if tail is None else []
        last = runtime.logs(present, tail=tail, follow=follow)
        # The first piece is read here, where a missing deployment is still an error that can be answered.
        return chain(*former, [next(last, b"")], last)

    return await ground.calls.run(f"runtime {name} logs", OPEN_LIMIT, opened)


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
