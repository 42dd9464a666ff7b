"""The operations on log files."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp

from thv_supervisor.control.reconciler import Reconciler


def test_logs_of_workloads_that_are_gone_are_deleted_and_named(play: Any, asked: Any, rig: Any) -> None:
    logs = rig.paths.logs

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        for name in ("echo.log", "echo.log.1", "gone.log", "gone.log.1", "notes.txt"):
            (logs / name).write_text("x")
        (logs / "folder.log").mkdir()
        reply = await asked(app, "POST", "/api/v1beta/logs/prune")
        assert (reply.status, reply.json()) == (200, {"pruned": [str(logs / "gone.log"), str(logs / "gone.log.1")]})
        assert sorted(path.name for path in logs.iterdir()) == ["echo.log", "echo.log.1", "folder.log", "notes.txt"]
        assert (await asked(app, "POST", "/api/v1beta/logs/prune")).json() == {"pruned": []}

    play(story)


def test_reading_a_log_that_is_not_there_yet_makes_none(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        assert (await asked(app, "GET", "/api/v1beta/workloads/echo/proxy-logs")).body == b""
        assert not rig.paths.proxy_log("echo").exists()

    play(story)
