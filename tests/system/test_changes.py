"""A workload is changed while a client goes on calling it: no call fails, whether the change is good or broken."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.calling import Calls, LongCall
from harness.census import first_processes
from harness.changing import applied, exported, manifest
from harness.contents import watched
from harness.home import Thv, wait_for
from harness.session import Session
from harness.users import User

SERVER = "uvx://echo-mcp@1.0"
START_TIMEOUT = 3
KINDS = ("beside", "instead")
HTTP = ("--transport", "streamable-http", "--target-port", "8000")


@pytest.fixture(params=KINDS)
def grant(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The flags of a server that another life can run beside, or that holds something exclusive."""
    if request.param == "beside":
        return ()
    folder = tmp_path / "granted"
    folder.mkdir()
    User(os.getuid(), folder).lend(folder)
    return ("--volume", f"{folder}:/granted")


@pytest.fixture
def url(thv: Thv, grant: tuple[str, ...]) -> str:
    """A running server with a greeting in its environment; its URL."""
    thv.ok("config", "set", "start_timeout", str(START_TIMEOUT))
    return thv.ok("run", SERVER, "--env", "GREETING=old", *grant).strip()


def greetings(*texts: str) -> list[dict[str, str]]:
    """Return what the tool says of a variable that had these values."""
    return [{"value": text} for text in texts]


def test_a_good_change_fails_no_call(thv: Thv, url: str) -> None:
    before = thv.view("echo")
    with Calls(Session(url), "environment", name="GREETING") as calls:
        done = applied(thv, "echo", env_vars={"GREETING": "new"})
        assert done.returncode == 0, done.stderr
        calls.go_on()
    assert calls.failures == []
    assert calls.seen == greetings("old", "new")
    after = thv.view("echo")
    assert (after["port"], after["status"], after["restarts"]) == (before["port"], "running", 0)
    assert after["pid"] != before["pid"]
    wait_for(lambda: first_processes(thv) == [after["pid"]])


BROKEN = {
    "exits at once": (["--exit", "3"], "exited with code 3"),
    "never answers": (["--silent"], "did not answer initialize"),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_change_fails_no_call_and_is_rolled_back_with_its_reason(thv: Thv, url: str, way: str) -> None:
    arguments, reason = BROKEN[way]
    before = exported(thv, "echo")
    with Calls(Session(url), "environment", name="GREETING") as calls:
        done = applied(thv, "echo", env_vars={"GREETING": "new"}, cmd_args=arguments)
        assert done.returncode == 1, done.stdout
        calls.go_on()
    assert calls.failures == []
    assert calls.seen == greetings("old")
    assert reason in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert exported(thv, "echo") == before
    assert reason in thv.ok("status", "echo")
    wait_for(lambda: first_processes(thv) == [thv.view("echo")["pid"]])


def test_a_call_that_outlasts_the_hold_is_answered_and_then_the_new_one_serves(thv: Thv, url: str) -> None:
    long = LongCall(Session(url), 12)
    with Calls(Session(url), "environment", name="GREETING") as calls:
        done = applied(thv, "echo", env_vars={"GREETING": "new"})
        assert done.returncode == 0, done.stderr
        calls.go_on()
    assert long.answer() == (200, "slept 12 seconds")
    assert calls.failures == []
    assert calls.seen == greetings("old", "new")
    wait_for(lambda: first_processes(thv) == [thv.view("echo")["pid"]])


@pytest.mark.parametrize("grant", ["instead"], indirect=True)
def test_what_waits_during_a_change_waits_less_than_the_hold(thv: Thv, url: str) -> None:
    with Calls(Session(url), "count") as calls:
        assert applied(thv, "echo", env_vars={}).returncode == 0
        calls.go_on()
    assert calls.failures == []
    assert calls.slowest < 10


@pytest.mark.parametrize("grant", ["beside"], indirect=True)
def test_a_second_change_meanwhile_is_refused_and_disturbs_nothing(thv: Thv, url: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(applied, thv, "echo", cmd_args=["--silent"])
        wait_for(lambda: len(first_processes(thv)) == 2)
        second = applied(thv, "echo", env_vars={"GREETING": "second"})
        assert first.result(60).returncode == 1
    assert second.returncode == 1
    assert "echo" in second.stderr + second.stdout
    assert Session(url).call("environment", name="GREETING") == {"value": "old"}


@pytest.mark.parametrize("grant", ["beside"], indirect=True)
def test_a_change_of_labels_gives_no_new_life(thv: Thv, url: str) -> None:
    pid = thv.view("echo")["pid"]
    assert applied(thv, "echo", container_labels={"team": "search"}).returncode == 0
    assert thv.view("echo")["pid"] == pid
    assert "echo" in thv.ok("list", "--label", "team=search")
    assert "echo" not in thv.ok("list", "--label", "team=other")


def is_being_changed(thv: Thv) -> bool:
    """Tell whether a change is recorded: asking the processes takes longer than the change."""
    with contextlib.closing(sqlite3.connect(f"file:{thv.home / 'state/state.db'}?mode=ro", uri=True)) as database:
        return database.execute("SELECT 1 FROM workloads WHERE successor IS NOT NULL").fetchone() is not None


@pytest.mark.parametrize("kill", ["thv_supervisor.control", "thv_supervisor.gateway_process"])
@pytest.mark.parametrize("grant", ["instead"], indirect=True)
def test_a_kill_during_a_change_neither_loses_nor_doubles_the_workload(thv: Thv, url: str, kill: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(applied, thv, "echo", env_vars={"GREETING": "new"})
        wait_for(lambda: is_being_changed(thv))
        thv.kill(kill)
        done = changing.result(120)
    wait_for(lambda: thv.view("echo")["status"] == "running")
    wait_for(lambda: first_processes(thv) == [thv.view("echo")["pid"]])
    wanted = "new" if done.returncode == 0 else greeting_in_force(thv)
    assert wait_for(lambda: Session(url)).call("environment", name="GREETING") == {"value": wanted}


def greeting_in_force(thv: Thv) -> str:
    """Return the greeting of the configuration that is in force."""
    text: str = exported(thv, "echo")["env_vars"]["GREETING"]
    return text


# Servers that speak HTTP ---------------------------------------------------------------------------------------------


def test_a_session_with_an_http_server_goes_on_through_changes(thv: Thv) -> None:
    thv.ok("config", "set", "start_timeout", str(START_TIMEOUT))
    url = thv.ok("run", SERVER, "--env", "GREETING=old", *HTTP, "--", "--http", "8000").strip()
    session = Session(url)
    assert session.call("environment", name="GREETING") == {"value": "old"}
    with Calls(session, "environment", name="GREETING") as calls:
        assert applied(thv, "echo", env_vars={"GREETING": "new"}).returncode == 0
        calls.go_on()
        assert applied(thv, "echo", cmd_args=["--exit", "3"]).returncode == 1
        calls.go_on()
    assert calls.failures == []
    assert calls.seen == greetings("old", "new")
    thv.kill("thv_supervisor.gateway_process")
    assert wait_for(lambda: _answered(session)) == {"value": "new"}


def _answered(session: Session) -> Any:
    return session.call("environment", name="GREETING")


# A manifest of twenty ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_manifest_of_twenty_applied_twice_changes_nothing_and_writes_nothing(thv: Thv, tmp_path: Path) -> None:
    groups = ("search", "tools")
    configs = [
        {"name": f"w{number}", "image": SERVER, "group": groups[number % 2], "env_vars": {"N": str(number)}}
        for number in range(20)
    ]
    file = manifest(tmp_path / "all.yaml", *configs, groups=groups)
    thv.ok("apply", "-f", str(file))
    views = json.loads(thv.ok("list", "--format", "json"))
    assert {view["status"] for view in views} == {"running"}
    assert len(views) == 20
    digest = hashlib.sha256(file.read_bytes()).digest()
    with watched(thv.home) as written:
        second = thv("apply", "-f", str(file))
        shown = thv("diff", "-f", str(file))
    assert written == []
    assert [(second.stdout + second.stderr).count("unchanged"), second.returncode] == [20, 0]
    assert "changed" not in (shown.stdout + shown.stderr).replace("unchanged", "")
    assert hashlib.sha256(file.read_bytes()).digest() == digest
    assert json.loads(thv.ok("list", "--format", "json")) == views


def test_a_manifest_prunes_shows_and_goes_on_after_a_broken_one(thv: Thv, tmp_path: Path) -> None:
    thv.ok("config", "set", "start_timeout", str(START_TIMEOUT))
    good, broken = ({"name": name, "image": SERVER} for name in ("good", "broken"))
    thv.ok("apply", "-f", str(manifest(tmp_path / "first.yaml", good, broken)))
    thv.ok("run", SERVER, "--name", "other")
    changed = manifest(
        tmp_path / "second.yaml", {**broken, "cmd_args": ["--exit", "3"]}, {**good, "env_vars": {"GREETING": "new"}}
    )
    before = json.loads(thv.ok("list", "--format", "json"))
    dry = thv.ok("apply", "-f", str(changed), "--prune", "--dry-run")
    assert all(name in dry for name in ("good", "broken", "other"))
    assert json.loads(thv.ok("list", "--format", "json")) == before
    done = thv("apply", "-f", str(changed), "--prune")
    assert done.returncode == 1
    assert "exited with code 3" in done.stderr + done.stdout
    views = {view["name"]: view for view in json.loads(thv.ok("list", "--all", "--format", "json"))}
    assert {name: view["status"] for name, view in views.items()} == {"good": "running", "broken": "running"}
    assert Session(views["good"]["url"]).call("environment", name="GREETING") == {"value": "new"}
    assert Session(views["broken"]["url"]).count()["count"] == 1
