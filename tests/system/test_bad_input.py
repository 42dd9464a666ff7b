"""Bad input gets a clear error, the documented exit code, and leaves nothing behind."""

import json
import socket
from pathlib import Path

import pytest
from harness.home import Thv


def refused(thv: Thv, *arguments: str, code: int) -> str:
    """Run what must fail, and return its message after checking that nothing is left."""
    done = thv(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert json.loads(thv.ok("list", "--all", "--format", "json")) == []
    assert not list((thv.home / "state").glob("plugins/sandbox/*/*"))
    return done.stderr


def test_an_unknown_flag_is_a_usage_error_with_the_nearest(thv: Thv) -> None:
    message = refused(thv, "run", "uvx://echo-mcp", "--nmae", "x", code=2)
    assert "--nmae" in message
    assert "--name" in message


def test_an_unknown_key_of_a_run_config_is_named_with_its_line(thv: Thv, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{\n  "name": "a",\n  "imag": "uvx://echo-mcp@1.0"\n}')
    message = refused(thv, "run", "--from-config", str(file), code=2)
    assert "imag is not a known key (line 3)" in message
    assert "Did you mean image?" in message


def test_a_missing_package_is_named(thv: Thv) -> None:
    assert "no package mcp-server-tiem" in refused(thv, "run", "uvx://mcp-server-tiem", code=1)


def test_a_missing_version_is_named(thv: Thv) -> None:
    message = refused(thv, "run", "uvx://echo-mcp@9.9", code=1)
    assert "echo-mcp" in message
    assert "9.9" in message


def test_a_package_without_an_executable_is_refused(thv: Thv) -> None:
    assert "no executable" in refused(thv, "run", "uvx://no-scripts", code=1)


def test_a_busy_port_is_refused_with_what_to_do(thv: Thv) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refused(thv, "run", "uvx://echo-mcp", "--proxy-port", str(port), code=1)
    assert f"port {port} is in use by another program" in message
    assert "Choose another port, or leave it out" in message


def test_a_profile_that_does_not_parse_is_refused_with_its_line(thv: Thv, tmp_path: Path) -> None:
    file = tmp_path / "team.json"
    file.write_text('{\n "network": {\n  "outbound": {"allow_hosts": ["a"]}}}')
    message = refused(thv, "run", "uvx://echo-mcp", "--permission-profile", str(file), code=2)
    assert "network.outbound.allow_hosts is not a known key (line 3)" in message
    assert "Did you mean allow_host?" in message


def test_a_profile_that_is_not_json_is_refused(thv: Thv, tmp_path: Path) -> None:
    file = tmp_path / "team.json"
    file.write_text("{")
    assert "is not JSON" in refused(thv, "run", "uvx://echo-mcp", "--permission-profile", str(file), code=2)


@pytest.mark.parametrize("host", ["http://example.com/", "example.com:99999", "10.0.0.1/8", "exa mple.com"])
def test_a_host_that_cannot_be_meant_is_refused(thv: Thv, host: str) -> None:
    assert host in refused(thv, "run", "uvx://echo-mcp", "--allow-network", host, code=2)


def test_a_server_whose_own_port_is_one_that_it_may_reach_is_refused(thv: Thv) -> None:
    listening = ("--transport", "streamable-http", "--target-port", "8080")
    message = refused(thv, "run", "uvx://echo-mcp", *listening, "--allow-network", "example.com:8080", code=2)
    assert "8080" in message


def test_an_http_server_that_never_listens_is_given_up(thv: Thv) -> None:
    thv.ok("config", "set", "start_timeout", "3")
    listening = ("--transport", "streamable-http", "--target-port", "8000")
    assert "8000" in refused(thv, "run", "uvx://echo-mcp", *listening, code=1)


def test_a_grant_that_is_not_there_is_refused(thv: Thv, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert str(missing) in refused(thv, "run", "uvx://echo-mcp", "--allow-read", str(missing), code=2)


def test_a_server_that_exits_at_once_is_explained_by_its_last_lines(thv: Thv) -> None:
    message = refused(thv, "run", "uvx://echo-mcp", "--", "--exit", "3", code=1)
    assert "echo exited with code 3 before it answered" in message
    assert "exits with 3, as it was told" in message


def test_a_server_that_never_answers_is_given_up(thv: Thv) -> None:
    thv.ok("config", "set", "start_timeout", "2")
    message = refused(thv, "run", "uvx://echo-mcp", "--", "--silent", code=1)
    assert "did not answer initialize within 2 s" in message


def test_a_server_that_writes_garbage_is_shown_what_it_wrote(thv: Thv) -> None:
    thv.ok("config", "set", "start_timeout", "8")
    message = refused(thv, "run", "uvx://echo-mcp", "--", "--silent", "--garbage", "5", code=1)
    assert "not MCP" in message


def test_a_secret_that_is_not_set_is_named_with_what_to_do(thv: Thv) -> None:
    message = refused(thv, "run", "uvx://echo-mcp", "--secret", "github,target=TOKEN", code=1)
    assert "github" in message
    assert "thv config set secrets.provider" in message


def test_a_name_that_is_taken_is_refused(thv: Thv) -> None:
    thv.ok("run", "uvx://echo-mcp")
    done = thv("run", "uvx://echo-mcp")
    assert done.returncode == 1
    assert "workload with name 'echo' already exists" in done.stderr
    assert len(json.loads(thv.ok("list", "--all", "--format", "json"))) == 1


@pytest.mark.parametrize("command", ["status", "stop", "rm", "logs", "start"])
def test_an_unknown_workload_is_named_with_the_nearest(thv: Thv, command: str) -> None:
    thv.ok("run", "uvx://echo-mcp")
    done = thv(command, "ehco")
    assert done.returncode == 1
    assert "ehco" in done.stderr
    assert "echo" in done.stderr


def test_errors_are_json_when_json_was_asked_for(thv: Thv) -> None:
    done = thv("status", "nobody", "--format", "json")
    assert json.loads(done.stderr)["code"] == "not-found"


def test_settings_that_do_not_parse_are_named(thv: Thv) -> None:
    thv.ok("list")
    config = thv.home / "config/config.yaml"
    config.write_text("start_timeuot: 5\n")
    done = thv("run", "uvx://echo-mcp")
    assert done.returncode == 2
    assert "start_timeuot" in done.stderr
    config.unlink()
