"""What ``thv run`` shows, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import click
import pytest

from thv_core.errors import InvalidRequest, NotFound, StartFailed, Unavailable
from thv_supervisor.commands.run import run

RUNS = "/api/v1beta/runs"


def progress(step: str, done: bool = True) -> dict[str, Any]:
    return {"progress": {"step": step, "text": "text", "seconds": 1.0, "done": done}}


def test_each_step_is_shown_and_the_url_alone_is_data(invoke: Any, control: Any, console: Any) -> None:
    control.stories[RUNS] = [progress("downloading", done=False), progress("ready"), {"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "uvx://a", "--name", "n", "--", "--x").exit_code == 0
    ((method, path, request),) = control.calls
    assert (method, path, request["server"], request["name"]) == ("POST", RUNS, "uvx://a", "n")
    assert list(request["cmd_args"]) == ["--x"]
    assert console.steps == [("downloading", "text", False), ("ready", "text", True)]
    assert console.lines == ["http://a/mcp"]


def test_a_failed_start_prints_no_url(invoke: Any, control: Any, console: Any) -> None:
    control.stories[RUNS] = [progress("resolved"), StartFailed("no")]
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
    control.stories[RUNS] = [progress("resolved"), KeyboardInterrupt()]
    monkeypatch.setattr("thv_supervisor.requesting.uuid.uuid4", lambda: "the-id")
    control.answers["DELETE", "/api/v1beta/runs/the-id"] = {"removed": removed}
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        run.main(["uvx://a"], obj=console, standalone_mode=False)
    assert control.paths() == ["POST /api/v1beta/runs", "DELETE /api/v1beta/runs/the-id"]
    assert control.limits == [150.0]
    assert console.messages == [*(f"interrupted: {name} was removed" for name in removed), "nothing is left of it"]


def test_every_flag_of_a_permission_reaches_control(invoke: Any, control: Any, console: Any) -> None:
    control.stories[RUNS] = [{"ready": {"url": "http://a/mcp"}}]
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
    control.stories[RUNS] = [{"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "npx://a").exit_code == 0
    ((_, _, request),) = control.calls
    assert not any(request[name] for name in ("allow_network", "allow_read", "allow_write", "allow_socket"))
    assert (request["allow_scripts"], request["target_port"]) == (False, 0)


def test_a_start_that_failed_is_not_undone(invoke: Any, control: Any) -> None:
    control.stories[RUNS] = [StartFailed("no")]
    with pytest.raises(StartFailed):
        invoke(run, "uvx://a")
    assert control.paths() == ["POST /api/v1beta/runs"]


def test_the_request_says_how_the_shell_reaches_the_network(invoke: Any, control: Any, console: Any) -> None:
    console.environment["UV_INDEX_URL"] = "https://index.example/simple"
    control.stories[RUNS] = [{"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "uvx://a").exit_code == 0
    ((_, _, request),) = control.calls
    assert request["network"] == {"UV_INDEX_URL": "https://index.example/simple"}


def test_where_and_among_which_it_runs_reaches_control(invoke: Any, control: Any) -> None:
    control.stories[RUNS] = [{"ready": {"url": "http://a/mcp"}}]
    assert invoke(run, "npx://a", "--group", "team", "-l", "a=1", "--label", "b=", "--host", "::1").exit_code == 0
    assert invoke(run, "--image", "npx://b").exit_code == 0
    (_, _, first), (_, _, second) = control.calls
    assert (first["group"], first["labels"], first["host"]) == ("team", {"a": "1", "b": ""}, "::1")
    assert (second["server"], second["group"], second["labels"], second["host"]) == (
        "npx://b",
        "default",
        {},
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--no-isolate-network",), "a server is always isolated"),
        (("--remote-forward-headers", "X-A"), "--remote-forward-headers 'X-A' is not NAME=VALUE"),
        (("--host", "0.0.0.0"), "--host 0.0.0.0: nothing listens beyond loopback without authentication"),
        (("--image", "npx://b"), "--image npx://b says which server to run, and npx://a does too"),
        (("--drop-unsupported",), "--drop-unsupported belongs to --from-config"),
        (("--secret", "TOKEN=hunter2"), "--secret 'TOKEN=…' is not NAME,target=VARIABLE"),
        (("--label", "team"), "label 'team' is not KEY=VALUE"),
    ],
)
def test_what_is_not_offered_is_said_before_control_is_asked(
    invoke: Any, control: Any, flags: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        invoke(run, "npx://a", *flags)
    assert words in refused.value.message
    assert refused.value.hint
    assert control.calls == []


def test_a_file_has_all_there_is_to_say_and_any_flag_that_is_written_contradicts_it(
    invoke: Any, control: Any, console: Any
) -> None:
    for flags in (("--group", "default"), ("--host", "127.0.0.1"), ("--isolate-network",), ("uvx://a",), ("-l", "a=1")):
        with pytest.raises(InvalidRequest, match="has all there is to say"):
            invoke(run, "--from-config", "c.json", *flags)
    assert control.calls == []


# In the foreground ---------------------------------------------------------------------------------------------------

STATUS = ("GET", "/api/v1beta/workloads/a/status")
REMOVAL = ("DELETE", "/api/v1beta/workloads/a?wait=true")
RUNNING = {"name": "a", "status": "running", "started_at": "t1", "restarts": 0, "status_context": ""}


@pytest.fixture
def started(control: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("thv_supervisor.commands.attaching.PAUSE", 0.0)
    control.stories[RUNS] = [{"ready": {"url": "http://a/mcp", "name": "a"}}]
    return control


def test_in_the_foreground_its_log_is_shown_until_ctrl_c_which_removes_it(
    invoke: Any, started: Any, console: Any
) -> None:
    started.answers[STATUS] = RUNNING
    started.text = [b"one\n", b"\xfftwo\n", KeyboardInterrupt()]
    result = invoke(run, "uvx://a", "-f")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr_bytes == b"one\n\xfftwo\n"
    assert console.lines == ["http://a/mcp"]
    assert started.paths()[-2:] == ["GET /a/logs?follow=true&tail=100000", "DELETE /a?wait=true"]
    assert console.messages == ["a is removed"]


def test_a_signal_to_end_is_what_ctrl_c_is(invoke: Any, started: Any) -> None:
    class Ending:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one\n"
            os.kill(os.getpid(), signal.SIGTERM)
            yield b""

    former = signal.getsignal(signal.SIGTERM)
    started.answers[STATUS] = RUNNING
    started.text = Ending()
    assert invoke(run, "uvx://a", "--foreground").exit_code == 0
    assert started.paths()[-1] == "DELETE /a?wait=true"
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_server_that_is_started_again_is_followed_on_and_nothing_is_shown_twice(
    invoke: Any, started: Any, in_turn: Any
) -> None:
    again = RUNNING | {"started_at": "t2", "restarts": 1}
    starting = RUNNING | {"started_at": "", "status": "starting"}
    started.answers[STATUS] = in_turn(RUNNING, RUNNING, starting, again, NotFound("there is no a"))
    assert invoke(run, "uvx://a", "-f").exit_code == 0
    assert [path for path in started.paths() if "logs" in path] == [
        "GET /a/logs?follow=true&tail=100000",
        "GET /a/logs?follow=true&tail=0",
        "GET /a/logs?follow=true&tail=100000",
    ]


def test_what_somebody_else_stopped_is_left_as_it_is(invoke: Any, started: Any, console: Any) -> None:
    started.answers[STATUS] = RUNNING | {"status": "stopped"}
    assert invoke(run, "uvx://a", "-f").exit_code == 0
    assert console.messages == ["a does not run any more"]
    assert not any(path.startswith("DELETE") for path in started.paths())


def test_a_server_that_does_not_stay_up_is_removed_and_fails_the_command(invoke: Any, started: Any) -> None:
    started.answers[STATUS] = RUNNING | {"status": "error", "status_context": "it exits at once"}
    with pytest.raises(StartFailed, match="a does not stay up") as failed:
        invoke(run, "uvx://a", "-f")
    assert failed.value.evidence == ("it exits at once",)
    assert started.paths()[-1] == "DELETE /a?wait=true"


def test_control_may_be_replaced_while_a_log_is_followed(invoke: Any, started: Any, in_turn: Any) -> None:
    started.answers[STATUS] = in_turn(RUNNING, NotFound("gone"))
    started.text = [Unavailable("control ended")]
    assert invoke(run, "uvx://a", "-f").exit_code == 0
