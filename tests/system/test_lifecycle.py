"""From the first run of a server to its removal."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from harness.home import Thv, heed_interrupts, wait_for
from harness.session import Session
from harness.users import User


@pytest.fixture
def echo(thv: Thv) -> str:
    """A running echo server; its URL."""
    return thv.ok("run", "uvx://echo-mcp@1.0").strip()


def test_run_tells_each_step_and_prints_the_url_alone_on_stdout(thv: Thv) -> None:
    done = thv("run", "uvx://echo-mcp")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp\n", done.stdout)
    words = [line.split()[0] for line in done.stderr.splitlines()]
    assert words == ["resolved", "prepared", "isolated", "ready"]
    assert "sandbox: no network, no files of yours" in done.stderr


def test_a_session_counts_its_calls(echo: str) -> None:
    session = Session(echo)
    assert [session.count()["count"] for _ in range(3)] == [1, 2, 3]


def test_list_shows_the_workload_in_each_format(thv: Thv, echo: str) -> None:
    header, row = thv.ok("list").splitlines()
    assert header.split() == ["NAME", "PACKAGE", "STATUS", "URL", "PORT", "GROUP", "CREATED"]
    assert row.split()[:4] == ["echo", "uvx://echo-mcp@1.0", "running", echo]
    assert json.loads(thv.ok("list", "--format", "json"))[0]["url"] == echo
    servers = json.loads(thv.ok("list", "--format", "mcpservers"))
    assert servers == {"mcpServers": {"echo": {"url": echo, "type": "streamable-http"}}}


def test_list_is_empty_in_words_and_in_json(thv: Thv) -> None:
    done = thv("list")
    assert (done.stdout, done.stderr) == ("", "No MCP servers found\n")
    assert json.loads(thv.ok("list", "--format", "json")) == []


def test_status_says_what_the_server_is_doing(thv: Thv, echo: str) -> None:
    shown = thv.ok("status", "echo")
    assert re.match(r"echo +running for .* \(pid \d+\), 0 restarts\n", shown)
    assert "uvx://echo-mcp@1.0   sandbox, stdio, speaks 2025-11-25" in shown


def test_the_second_run_of_a_version_needs_no_index(thv: Thv, echo: str) -> None:
    thv.ok("rm", "echo")
    thv.ok("serve", "--stop")
    wait_for(lambda: not thv.supervisor())
    thv.environment["UV_FIND_LINKS"] = str(thv.home / "nowhere")
    assert thv.ok("run", "uvx://echo-mcp@1.0", "--name", "again").strip()


def test_stop_ends_the_server_and_start_gives_it_a_new_life_on_the_same_port(thv: Thv, echo: str) -> None:
    first = thv.view("echo")
    thv.ok("stop", "echo")
    assert thv.view("echo")["status"] == "stopped"
    assert thv("list").stdout == ""
    assert "echo" in thv.ok("list", "--all")
    assert thv.ok("start", "echo").strip() == echo
    second = thv.view("echo")
    assert second["pid"] != first["pid"]
    assert Session(echo).count()["count"] == 1


def test_restart_gives_a_running_server_a_new_life(thv: Thv, echo: str) -> None:
    session = Session(echo)
    session.count()
    assert thv.ok("restart", "echo").strip() == echo
    assert session.count()["count"] == 1


def test_rm_leaves_nothing(thv: Thv, echo: str) -> None:
    pid = thv.view("echo")["pid"]
    thv.ok("rm", "echo")
    assert json.loads(thv.ok("list", "--all", "--format", "json")) == []
    assert not list((thv.home / "state/plugins/sandbox").rglob("*stderr*"))
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_logs_show_the_standard_error_of_the_server(thv: Thv, echo: str) -> None:
    Session(echo).post("tools/call", {"name": "stderr", "arguments": {"text": "a line for its log"}})
    assert "a line for its log" in wait_for(lambda: thv.ok("logs", "echo"))
    assert thv.ok("logs", "echo", "--tail", "0") == ""


def test_logs_follow_what_is_added(thv: Thv, echo: str) -> None:
    follower = subprocess.Popen(
        [thv.command, "logs", "-f", "echo"], env=thv.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        Session(echo).post("tools/call", {"name": "stderr", "arguments": {"text": "added later"}})
        assert follower.stdout is not None
        assert "added later" in follower.stdout.readline()
    finally:
        follower.kill()
        follower.communicate()


def test_the_proxy_log_says_when_the_server_became_ready(thv: Thv, echo: str) -> None:
    assert "ready" in thv.ok("logs", "--proxy", "echo")


def test_mcp_list_tools_and_call(thv: Thv, echo: str) -> None:
    assert "count" in thv.ok("mcp", "list", "tools", "echo")
    assert "hello" in thv.ok("mcp", "call", "echo", "echo", "--arg", "text=hello")
    assert "hi" in thv.ok("mcp", "call", "echo", "--server", echo, "--args", '{"text": "hi"}')
    as_json = json.loads(thv.ok("mcp", "call", "echo", "echo", "--arg", "text=hello", "--format", "json"))
    assert as_json["content"][0]["type"] == "text"


def test_a_tool_error_is_a_failure_unless_it_is_ignored(thv: Thv, echo: str) -> None:
    assert thv("mcp", "call", "echo", "sleep", "--arg", "seconds=-1").returncode == 1
    assert thv("mcp", "call", "echo", "sleep", "--arg", "seconds=-1", "--ignore-tool-error").returncode == 0


def test_environment_and_arguments_reach_the_server_and_nothing_else_does(thv: Thv) -> None:
    thv.environment["NOT_GRANTED"] = "secret"
    thv.ok("run", "uvx://echo-mcp@1.0", "-e", "GREETING=hello", "--", "--stdio")
    shown = thv.ok("mcp", "call", "echo", "environment")
    assert "GREETING" in shown
    assert "NOT_GRANTED" not in shown
    assert "hello" in thv.ok("mcp", "call", "echo", "environment", "--arg", "name=GREETING")


def test_a_secret_of_the_shell_reaches_the_server_and_no_disk(thv: Thv) -> None:
    environment = {"MY_TOKEN": "s3cr3t-of-the-shell"}
    thv.ok("run", "uvx://echo-mcp@1.0", "--secret", "env:MY_TOKEN,target=TOKEN", environment=environment)
    assert "s3cr3t-of-the-shell" in thv.ok("mcp", "call", "echo", "environment", "--arg", "name=TOKEN")
    for path in thv.home.rglob("*"):
        if path.is_file():
            assert b"s3cr3t-of-the-shell" not in path.read_bytes(), path


def test_a_volume_is_granted_read_only_or_writable(thv: Thv) -> None:
    notes = thv.home.parent / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("a note")
    User(os.getuid(), notes).lend(notes)
    thv.ok("run", "uvx://echo-mcp@1.0", "--volume", f"{notes}:/notes:ro")
    assert "a note" in thv.ok("mcp", "call", "echo", "read", "--arg", "path=/notes/a.txt")
    assert thv("mcp", "call", "echo", "write", "--arg", "path=/notes/b", "--arg", "text=x").returncode == 1
    thv.ok("run", "uvx://echo-mcp@1.0", "--name", "writer", "--volume", f"{notes}:/notes")
    thv.ok("mcp", "call", "writer", "write", "--arg", "path=/notes/b", "--arg", "text=x")
    assert (notes / "b").read_text() == "x"


def test_an_exported_config_runs_again(thv: Thv) -> None:
    config = {"name": "copy", "image": "uvx://echo-mcp@1.0", "env_vars": {"A": "1"}}
    file = thv.home.parent / "copy.json"
    file.write_text(json.dumps(config))
    assert thv.ok("run", "--from-config", str(file)).strip()
    assert thv.view("copy")["package"] == "uvx://echo-mcp@1.0"


def test_a_server_that_crashes_is_started_again(thv: Thv, echo: str) -> None:
    before = thv.view("echo")["pid"]
    session = Session(echo)
    session.post("tools/call", {"name": "crash", "arguments": {}})
    wait_for(lambda: thv.view("echo")["pid"] not in (0, before))
    assert thv.view("echo")["restarts"] == 1
    assert session.count()["count"] == 1


def test_ctrl_c_during_run_leaves_nothing(thv: Thv) -> None:
    running = subprocess.Popen(
        [thv.command, "run", "uvx://echo-mcp@1.0", "--", "--silent"],
        env=thv.environment,
        preexec_fn=heed_interrupts,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: '"echo"' in thv.ok("list", "--all", "--format", "json"))
    running.send_signal(signal.SIGINT)
    _, message = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "nothing is left of it" in message
    assert json.loads(thv.ok("list", "--all", "--format", "json")) == []


def test_runtime_check_names_the_bubblewrap_that_is_used(thv: Thv) -> None:
    assert re.search(r"sandbox: .*bubblewrap \d+\.\d+", thv.ok("runtime", "check"))


def test_serve_ends_the_processes_that_it_started_and_no_server(thv: Thv) -> None:
    serving = subprocess.Popen(
        [thv.command, "serve", "--port", "0"],
        env=thv.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=heed_interrupts,
    )
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline().startswith(b"http://127.0.0.1:")
        thv.ok("run", "uvx://echo-mcp@1.0")
        pid = thv.view("echo")["pid"]
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=20)
    assert serving.returncode == 0
    wait_for(lambda: "not running" in thv.ok("version"))
    assert thv.view("echo")["pid"] == pid


def test_changed_settings_renew_control_and_it_keeps_what_a_shell_gave(thv: Thv) -> None:
    environment = {"MY_TOKEN": "kept in memory"}
    thv.ok("run", "uvx://echo-mcp@1.0", "--secret", "env:MY_TOKEN,target=TOKEN", environment=environment)
    pid = thv.view("echo")["pid"]
    thv.ok("config", "set", "request_timeout", "200")
    assert "the settings changed" in thv("list").stderr
    assert thv.view("echo")["pid"] == pid
    thv.ok("restart", "echo")
    assert "kept in memory" in thv.ok("mcp", "call", "echo", "environment", "--arg", "name=TOKEN")


def test_a_value_of_a_shell_that_is_gone_stops_no_server_until_it_ends_by_itself(thv: Thv) -> None:
    environment = {"MY_TOKEN": "kept in memory"}
    url = thv.ok("run", "uvx://echo-mcp@1.0", "--secret", "env:MY_TOKEN,target=TOKEN", environment=environment).strip()
    pid = thv.view("echo")["pid"]
    thv.kill("thv_supervisor.control")
    refused = thv("restart", "echo")
    assert refused.returncode == 1
    assert "secret env:MY_TOKEN came from a shell and is gone" in refused.stderr
    assert thv.view("echo")["pid"] == pid
    Session(url).post("tools/call", {"name": "crash", "arguments": {}})
    shown = wait_for(lambda: thv.view("echo")["status"] == "error" and thv.view("echo"))
    assert "came from a shell" in shown["status_context"]


def test_a_port_that_is_taken_between_the_choice_and_the_start_is_replaced_by_another(thv: Thv) -> None:
    thv.ok("list")
    with contextlib.ExitStack() as stack:
        running = subprocess.Popen(
            [thv.command, "run", "uvx://echo-mcp@1.0"],
            env=thv.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        chosen = wait_for(lambda: json.loads(thv.ok("list", "--all", "--format", "json")))[0]["port"]
        with contextlib.suppress(OSError):
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", chosen))
            taken.listen()
        url, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert Session(url.strip()).count()["count"] == 1
