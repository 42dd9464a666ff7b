"""Take over what a predecessor left: keep what is known, and clear away what belongs to nobody."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

from thv_core.errors import ThvError
from thv_core.spi.gateways import ROUTES_FILE
from thv_core.spi.runtimes import Runtime
from thv_core.state.paths import Paths
from thv_supervisor.control.ground import Ground

__all__ = ["clear_away", "end_strays"]

END_LIMIT = 70.0

log = logging.getLogger(__name__)


async def clear_away(ground: Ground, known: Collection[str]) -> None:
    """Remove the routes, outlets, values and files of workloads that are not ``known``; no runtime is asked."""
    for name in set(ground.link.routed()) - set(known):
        await ground.link.publish(name, None)
    for name in ground.link.connected() - set(known):
        await ground.link.connect(name, ())
    ground.shell_values.retain(known)
    _clear_drafts(ground.kernel.paths)


async def end_strays(ground: Ground, runtime: str, known: Collection[str]) -> None:
    """End what a runtime sees of workloads that are not ``known``, and of no job: each is recorded before it starts."""
    for name in set(ground.observatory.workloads(runtime)) - {*known, *tuple(ground.jobs)}:
        for each in ground.observatory.sees(runtime, name) or ():
            log.warning("ending %s, which belongs to no workload", each.deployment.label)
            driver = ground.kernel.drivers.get(Runtime, runtime)
            try:
                await ground.calls.run(f"runtime {runtime} end", END_LIMIT, partial(driver.remove, each.deployment))
            except ThvError as error:
                log.warning("%s could not be ended: %s", each.deployment.label, error)


def _clear_drafts(paths: Paths) -> None:
    """Delete the drafts of files that a predecessor was writing when it was killed: nobody else writes these files."""
    for file in (paths.gateway / ROUTES_FILE, paths.control_error):
        draft = re.compile(rf"\.{re.escape(file.name)}\.\d+\.[0-9a-f]+\Z")
        for each in _listed(file.parent):
            if draft.match(each.name):
                each.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []
