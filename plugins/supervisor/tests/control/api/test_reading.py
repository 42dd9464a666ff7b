"""Reading writes nothing: no database, no file, no setting."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_supervisor.control.reconciler import Reconciler

PATHS = [
    "/health",
    "/api/openapi.json",
    "/api/doc",
    "/api/v1beta/version",
    "/api/v1beta/workloads?all=true",
    "/api/v1beta/workloads/echo",
    "/api/v1beta/workloads/echo/status",
    "/api/v1beta/workloads/echo/export",
    "/api/v1beta/workloads/echo/logs",
    "/api/v1beta/workloads/echo/proxy-logs",
    "/api/v1beta/groups",
    "/api/v1beta/groups/default",
    "/api/v1beta/egress",
    "/api/v1beta/egress/report",
    "/api/v1beta/cache",
]


def everything(home: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of the last change of every file that is not memory of SQLite."""
    files = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".db-shm"]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("path", PATHS)
def test_a_get_writes_nothing(play: Any, asked: Any, rig: Any, ledger: Any, path: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        # The last change of the start may still be on its way.
        await rig.until(lambda: control.view("echo").status == "running")
        observer = sqlite3.connect(rig.paths.database)
        before = everything(rig.paths.state.parent), observer.execute("PRAGMA data_version").fetchone()
        for _ in range(3):
            assert (await asked(app, "GET", path)).status in (200, 204)
        assert (everything(rig.paths.state.parent), observer.execute("PRAGMA data_version").fetchone()) == before
        observer.close()

    play(story)
