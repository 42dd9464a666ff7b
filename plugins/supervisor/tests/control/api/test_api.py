"""The control API, asked as an ASGI application over the real reconciler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from litestar.types import ASGIApp

from thv_core import errors
from thv_core.errors import NotReady, ThvError
from thv_core.model.status import Status
from thv_core.services.transitions import became
from thv_supervisor.control.api import application as api
from thv_supervisor.control.api import processes
from thv_supervisor.control.reconciler import Reconciler

ONE = "/api/v1beta/workloads/echo"
ALL = "/api/v1beta/workloads"
RUNS = "/api/v1beta/runs"


def request(**more: Any) -> bytes:
    return json.dumps({"request_id": "one", "server": "fake://echo"} | more).encode()


@pytest.mark.parametrize("library", ["pydantic", "attr"])
def test_libraries_that_happen_to_be_installed_are_not_imported(tmp_path: Path, library: str) -> None:
    (tmp_path / f"{library}.py").write_text(f"raise SystemExit('{library} is imported')")
    program = "from thv_supervisor.control.api import application; application._application([], described=True)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_health_and_version_are_answered(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert (await asked(app, "GET", "/health")).status == 204
        told = (await asked(app, "GET", "/api/v1beta/version")).json()
        assert datetime.fromisoformat(told.pop("started_at")).tzinfo is UTC
        expected = {"version": "1.2", "interpreter": "/venv/bin/python", "prefix": "/venv", "pid": os.getpid()}
        assert told == expected

    play(story)


def test_health_is_bad_when_the_chosen_runtime_cannot_be_asked(play: Any, asked: Any, rig: Any) -> None:
    rig.runtime.unobservable = errors.RuntimeUnavailable("no engine")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "GET", "/health")
        assert (reply.status, reply.json()["code"]) == (503, "runtime-unavailable")
        assert reply.headers["retry-after"] == "1"

    play(story)


def test_a_run_streams_its_steps_and_the_view(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", RUNS, request())
        assert reply.status == 201
        assert reply.headers["content-type"].startswith("application/x-ndjson")
        *steps, last = reply.lines()
        assert [each["progress"]["step"] for each in steps][::4] == ["resolved", "ready"]
        assert last["ready"]["name"] == "echo"
        assert last["ready"]["status"] == "running"
        assert last["ready"] == (await asked(app, "GET", f"{ONE}/status")).json()

    play(story)


def test_a_start_that_fails_streams_its_error(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", RUNS, request(server="fake://empty"))
        assert reply.status == 201
        assert reply.lines()[-1]["error"]["code"] == "preparation-failed"
        assert reply.lines()[-1]["error"]["evidence"] == ["it has no entry point"]

    play(story)


def test_lists_are_of_all_or_without_what_is_stopped(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        async def names(query: str) -> list[str]:
            return [view["name"] for view in (await asked(app, "GET", f"{ALL}{query}")).json()["workloads"]]

        await asked(app, "POST", RUNS, request())
        await asked(app, "POST", RUNS, request(request_id="two", name="b"))
        assert (await asked(app, "POST", f"{ONE}/stop?timeout=0&wait=true")).status == 202
        assert control.view("echo").status is Status.STOPPED
        assert await names("") == ["b"]
        assert await names("?all=true") == ["b", "echo"]

    play(story)


def test_a_list_shows_whatever_ails_a_workload_that_should_run(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        rig.gateway.answer = rig.gateway.silent
        await control.submit(rig.request())
        await control.submit(rig.request(request_id="two", name="b"))
        await rig.until(lambda: len(rig.gateway.routes) == 2)
        control.ground.store.replace(became(control.ground.store.get("b"), Status.ERROR, "it is broken"))
        views = (await asked(app, "GET", ALL)).json()["workloads"]
        assert [(view["name"], view["status"]) for view in views] == [("b", "error"), ("echo", "starting")]

    play(story)


def test_an_abandoned_request_leaves_nothing(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", RUNS, request())
        reply = await asked(app, "DELETE", f"{RUNS}/one")
        assert (reply.status, reply.json()) == (200, {"removed": ["echo"]})
        assert (control.views(), rig.runtime.seen) == ([], {})
        assert (await asked(app, "DELETE", f"{RUNS}/never")).json() == {"removed": []}
        late = await asked(app, "POST", RUNS, request(request_id="never"))
        assert late.json()["message"] == "the run was interrupted"
        assert control.views() == []

    play(story)


def test_a_run_waits_until_control_has_the_network_of_its_caller(play: Any, asked: Any, settlement: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        settlement.objection = NotReady("in a moment")
        reply = await asked(app, "POST", RUNS, request(network={"UV_OFFLINE": "1"}))
        assert (reply.status, reply.json()["code"]) == (503, "not-ready")
        assert control.views() == []
        settlement.objection = None
        assert (await asked(app, "POST", RUNS, request())).status == 201
        assert settlement.networks == [{"UV_OFFLINE": "1"}, None]

    play(story)


def test_a_workload_is_exported_restarted_and_removed(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", RUNS, request(env_vars={"A": "1"}))
        exported = (await asked(app, "GET", f"{ONE}/export")).json()
        assert (exported["image"], exported["env_vars"]) == ("fake://echo@1.1.0", {"A": "1"})
        reply = await asked(app, "POST", f"{ONE}/restart", headers={"accept": "application/x-ndjson"})
        assert (reply.status, list(reply.lines()[-1])) == (202, ["ready"])
        assert (await asked(app, "DELETE", f"{ONE}?wait=true")).status == 202
        assert control.views() == []

    play(story)


def test_logs_are_whole_or_their_last_lines(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", RUNS, request())
        rig.paths.proxy_log("echo").write_bytes(b"one\ntwo\nthree\n")
        assert (await asked(app, "GET", f"{ONE}/logs")).body == b"a line\nthe last line\n"
        assert (await asked(app, "GET", f"{ONE}/logs?tail=1")).body == b"the last line\n"
        assert (await asked(app, "GET", f"{ONE}/proxy-logs")).body == b"one\ntwo\nthree\n"
        assert (await asked(app, "GET", f"{ONE}/proxy-logs?tail={'9' * 30}")).body == b"one\ntwo\nthree\n"

    play(story)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ONE}/status"),
        ("GET", f"{ONE}/export"),
        ("GET", f"{ONE}/logs"),
        ("GET", f"{ONE}/proxy-logs"),
        ("POST", f"{ONE}/restart"),
        ("POST", f"{ONE}/stop"),
        ("DELETE", ONE),
    ],
)
def test_every_operation_on_an_unknown_workload_is_not_found(play: Any, asked: Any, method: str, path: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, method, path)
        assert reply.status == 404
        assert reply.json()["code"] == "not-found"

    play(story)


MALFORMED = [f"stop?timeout={text}" for text in ("abc", "", "nan", "inf", "-1", "1e99", "%C2%B2", "3601")] + [
    f"{log}?tail={text}" for log in ("logs", "proxy-logs") for text in ("abc", "-1", "%C2%B2", "", "1.5")
]


@pytest.mark.parametrize("target", MALFORMED)
def test_a_malformed_query_is_the_callers_mistake_and_changes_nothing(play: Any, asked: Any, target: str) -> None:
    from urllib.parse import unquote

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", RUNS, request())
        reply = await asked(app, "POST" if target.startswith("stop") else "GET", f"{ONE}/{target}")
        assert reply.status == 400
        assert reply.json()["code"] == "invalid-request"
        assert unquote(target.partition("?")[2]) in reply.json()["message"]
        assert control.view("echo").status is Status.RUNNING

    play(story)


DEEP = b'{"run_config": {"additional_middleware_configs": [{"type": "x", "parameters": {"x": ' + b"[" * 100_000


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "request"),
        (b"{}", "request_id"),
        (request(nmae="x"), "Did you mean name?"),
        (request(proxy_port="x"), "proxy_port"),
        (b"\xff", "request"),
        (DEEP, "not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(play: Any, asked: Any, body: bytes, words: str) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", RUNS, body)
        assert reply.status == 400
        assert words in reply.body.decode()
        assert control.views() == []

    play(story)


def test_a_body_that_is_too_large_is_refused(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        body = request(cmd_args=["x" * api.BODY_LIMIT])
        reply = await asked(app, "POST", RUNS, body)
        assert (reply.status, reply.json()["message"]) == (413, "the request is larger than 1 MiB")
        fitting = request(cmd_args=["x" * (api.BODY_LIMIT - 200)])
        assert (await asked(app, "POST", RUNS, fitting)).status == 201

    play(story)


def every_error() -> list[type[ThvError]]:
    return [getattr(errors, name) for name in errors.__all__ if isinstance(getattr(errors, name), type)]


STATUSES = {
    errors.AlreadyExists: 409,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.InvalidDocument: 400,
    errors.InvalidRequest: 400,
    errors.NotFound: 404,
    errors.NotReady: 503,
    errors.PackageNotFound: 400,
    errors.PortUnavailable: 409,
    errors.PreparationFailed: 422,
    errors.RolledBack: 422,
    errors.RuntimeUnavailable: 503,
    errors.SecretNotFound: 400,
    errors.SettingsError: 400,
    errors.StartFailed: 422,
    errors.TimedOut: 504,
    errors.Unauthorized: 401,
    errors.Unavailable: 503,
    errors.Unsupported: 400,
}


@pytest.mark.parametrize("kind", every_error())
def test_each_error_has_its_status_and_arrives_whole(
    play: Any, asked: Any, settlement: Any, kind: type[ThvError]
) -> None:
    settlement.refusal = kind("what", evidence=["line"], hint="do")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "GET", "/health")
        assert reply.status == STATUSES.get(kind, 500)
        again = errors.error_from_document(reply.json())
        assert (again.code, again.message, again.evidence, again.hint) == (kind.code, "what", ("line",), "do")

    play(story)


def test_a_request_that_is_not_settled_does_nothing(play: Any, asked: Any, settlement: Any) -> None:
    settlement.refusal = NotReady("in a moment")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert (await asked(app, "POST", RUNS, request())).status == 503
        assert control.views() == []

    play(story)


def test_a_notice_is_in_every_answer_and_the_callers_header_is_judged(play: Any, asked: Any, settlement: Any) -> None:
    settlement.notice = "another is running"

    async def story(app: ASGIApp, control: Reconciler) -> None:
        told = {"x-thv-installation": "mine"}
        assert (await asked(app, "GET", "/health", headers=told)).headers["x-thv-notice"] == "another is running"
        assert (await asked(app, "GET", f"{ONE}/status")).headers["x-thv-notice"] == "another is running"
        assert (await asked(app, "POST", RUNS, request())).headers["x-thv-notice"] == "another is running"
        settlement.notice = ""
        assert "x-thv-notice" not in (await asked(app, "GET", "/health")).headers
        assert settlement.headers == ["mine", None, None, None]

    play(story)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("PUT", ALL, 405), ("PUT", ONE, 405)])
def test_what_is_no_operation_is_refused(play: Any, asked: Any, method: str, path: str, status: int) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, method, path)
        assert (reply.status, reply.json()["message"]) == (status, f"there is no operation {method} {path}")

    play(story)


def test_a_shutdown_ends_the_parent(play: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(processes.os, "kill", lambda pid, number: signals.append((pid, number)))

    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert (await asked(app, "POST", "/api/v1beta/shutdown")).status == 202
        assert signals == [(processes.os.getppid(), signal.SIGTERM)]

    play(story)


def test_a_name_that_is_taken_conflicts(play: Any, asked: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await asked(app, "POST", RUNS, request())
        reply = await asked(app, "POST", RUNS, request(request_id="two"))
        assert (reply.status, reply.json()["code"]) == (409, "already-exists")

    play(story)
