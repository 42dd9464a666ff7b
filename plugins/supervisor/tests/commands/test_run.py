"""What ``thv run`` shows, and what an interruption leaves."""

from __future__ import annotations

from typing import Any

import click
import pytest

from thv_core.errors import InvalidRequest, StartFailed
from thv_supervisor.commands.run import run

ALL = "/api/v1beta/workloads"


def progress(step: str, done: bool = True) -> dict[str, Any]:
    return {"progress": {"step": step, "text": "text", "seconds": 1.0, "done": done}}


def test_each_step_is_shown_and_the_url_alone_is_data(invoke: Any, control: Any, console: Any) -> None:
    control.stories[ALL] = [progress("downloading", done=False), progress("ready"), {"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "uvx://a", "--name", "n", "--", "--x").exit_code == 0
    ((method, path, request),) = control.calls
    assert (method, path, request["server"], request["name"]) == ("POST", ALL, "uvx://a", "n")
    assert list(request["cmd_args"]) == ["--x"]
    assert console.steps == [("downloading", "text", False), ("ready", "text", True)]
    assert console.lines == ["http://a/mcp"]


def test_a_failed_start_prints_no_url(invoke: Any, control: Any, console: Any) -> None:
    control.stories[ALL] = [progress("resolved"), StartFailed("no")]
    with pytest.raises(StartFailed):
        invoke(run, "uvx://a")
    assert console.lines == []


def test_what_cannot_be_meant_asks_control_for_nothing(invoke: Any, control: Any) -> None:
    with pytest.raises(InvalidRequest):
        invoke(run)
    for flags in (("--proxy-port", "70000"), ("--proxy-port", "-1"), ("--nmae", "x")):
        assert invoke(run, "uvx://a", *flags).exit_code == 2
    assert control.calls == []


@pytest.mark.parametrize("removed", [[], ["a"]])
def test_an_interruption_undoes_this_request_and_nothing_else(
    console: Any, control: Any, monkeypatch: pytest.MonkeyPatch, removed: list[str]
) -> None:
    control.stories[ALL] = [progress("resolved"), KeyboardInterrupt()]
    monkeypatch.setattr("thv_supervisor.requesting.uuid.uuid4", lambda: "the-id")
    control.answers["DELETE", "/api/v1beta/requests/the-id"] = {"removed": removed}
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        run.main(["uvx://a"], obj=console, standalone_mode=False)
    assert control.paths() == ["POST ", "DELETE /api/v1beta/requests/the-id"]
    assert control.limits == [150.0]
    assert console.messages == [*(f"interrupted: {name} was removed" for name in removed), "nothing is left of it"]


def test_every_flag_of_a_permission_reaches_control(invoke: Any, control: Any, console: Any) -> None:
    control.stories[ALL] = [{"ready": {"url": "http://a/mcp"}}]
    flags = [
        "--allow-network",
        "a.example",
        "--allow-network",
        "b.example:1",
        "--allow-read",
        "notes",
        "--allow-socket",
    ]
    flags += ["--allow-write", "/w", "--allow-scripts", "--transport", "streamable-http", "--target-port", "8000"]
    assert invoke(run, "npx://a", *flags).exit_code == 0
    ((_, _, request),) = control.calls
    assert list(request["allow_network"]) == ["a.example", "b.example:1"]
    assert list(request["allow_read"]) == [f"{console.directory}/notes"]
    assert list(request["allow_write"]) == ["/w"]
    assert (request["allow_socket"], request["allow_scripts"]) == (True, True)
    assert (request["transport"], request["target_port"]) == ("streamable-http", 8000)


def test_without_flags_nothing_is_allowed(invoke: Any, control: Any) -> None:
    control.stories[ALL] = [{"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "npx://a").exit_code == 0
    ((_, _, request),) = control.calls
    assert not any(request[name] for name in ("allow_network", "allow_read", "allow_write", "allow_socket"))
    assert (request["allow_scripts"], request["target_port"]) == (False, 0)


def test_a_start_that_failed_is_not_undone(invoke: Any, control: Any) -> None:
    control.stories[ALL] = [StartFailed("no")]
    with pytest.raises(StartFailed):
        invoke(run, "uvx://a")
    assert control.paths() == ["POST "]


def test_the_request_says_how_the_shell_reaches_the_network(invoke: Any, control: Any, console: Any) -> None:
    console.environment["UV_INDEX_URL"] = "https://index.example/simple"
    control.stories[ALL] = [{"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "uvx://a").exit_code == 0
    ((_, _, request),) = control.calls
    assert request["network"] == {"UV_INDEX_URL": "https://index.example/simple"}
