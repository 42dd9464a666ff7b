"""Read the logs of a workload, whole, the last lines, or on and on; and delete those of workloads that are gone."""

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

__all__ = ["proxy_log", "prune_logs", "server_log"]

PAUSE = 0.2
CHUNK = 1 << 16
OPEN_LIMIT = 30.0
ROTATED = ".1"


async def server_log(workload: Workload, ground: Ground, tail: int | None, follow: bool) -> Iterator[bytes]:
    """Return what the server of a workload wrote to its standard error, its former life's before its present one's.

    Those of the processes that client sessions have for themselves are between them.

    :raises NotFound: when it has not run since it was created.
    """
    name = workload.config.runtime
    observed = ground.observatory.sees(name, workload.name) or ()
    sitting = {each.generation for each in workload.seats}
    private = [each.deployment for each in observed if each.deployment.generation in sitting]
    begun = [each.deployment for each in observed if each.deployment.generation <= workload.generation]
    begun = [each for each in begun if each not in private]
    # A later life is one that is being tried: it is no former one.
    lives = sorted(begun, key=lambda each: each.generation)
    present = lives[-1] if lives else Deployment(workload=workload.name, generation=workload.generation)

    def opened() -> Iterator[bytes]:
        runtime = ground.kernel.drivers.get(Runtime, name)
        former = [runtime.logs(each) for each in (*lives[:-1], *private)] if tail is None else []
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


def prune_logs(ground: Ground) -> list[str]:
    """Delete the proxy logs of workloads that do not exist any more, and return their paths."""
    known = {ground.kernel.paths.proxy_log(name).name for name in ground.store.names()}
    kept = known | {f"{name}{ROTATED}" for name in known}
    pruned: list[str] = []
    for path in sorted(ground.kernel.paths.logs.iterdir()):
        if path.name not in kept and path.name.removesuffix(ROTATED).endswith(".log") and path.is_file():
            path.unlink(missing_ok=True)
            pruned.append(str(path))
    return pruned


def _read(path: Path, tail: int | None, going_on: Callable[[], bool] | None) -> Iterator[bytes]:
    """Yield a file, which may not be there yet, and whatever takes its place when it is rotated."""
    while not path.exists():
        if going_on is None or not going_on():
            return
        time.sleep(PAUSE)
        yield b""
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
