"""The REST API on a real listener: who may use it, how long it is open, and what a fuzzer finds."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.api import PREFIX, Api
from harness.clients import python
from harness.home import Thv, wait_for
from harness.killing import CONTROL, three
from harness.serving import Serving, free_port, listens, served

SERVER = "uvx://echo-mcp@1.0"
WORKLOADS = f"{PREFIX}/workloads"


@dataclass
class Listener:
    """A TCP listener of a home, with its token."""

    thv: Thv
    serving: Serving
    port: int
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> Api:
        return Api.at(self.url, self.token)


@pytest.fixture
def listener(thv: Thv) -> Iterator[Listener]:
    """A listener on processes that ran already."""
    thv.ok("list")
    port = free_port()
    with served(thv, "--port", str(port), "--openapi") as serving:
        assert serving.url() == f"http://127.0.0.1:{port}"
        yield Listener(thv, serving, port, (thv.home / "state/api.token").read_text().strip())


# Who may -------------------------------------------------------------------------------------------------------------


def test_the_token_is_needed_and_lies_in_a_private_file(listener: Listener) -> None:
    file = listener.thv.home / "state/api.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(listener.token) >= 32
    assert listener.token not in listener.serving.said
    assert listener.api("GET", WORKLOADS).json == {"workloads": []}
    for token in ("", "wrong", listener.token[:-1]):
        refused = Api.at(listener.url, token)("GET", WORKLOADS)
        assert (refused.status, refused.json["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Bearer")
    written = Api.at(listener.url)("POST", WORKLOADS, {"name": "x", "image": SERVER})
    assert written.status == 401
    assert listener.api("GET", f"{WORKLOADS}?all=true").json == {"workloads": []}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8080"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
def test_a_foreign_host_or_origin_is_refused_even_with_the_token(listener: Listener, headers: dict[str, str]) -> None:
    for method, path in (("GET", WORKLOADS), ("POST", WORKLOADS), ("GET", "/health"), ("GET", "/api/openapi.json")):
        refused = listener.api(method, path, b"{}" if method == "POST" else None, headers)
        assert (refused.status, refused.json["code"]) == (403, "forbidden"), (method, path)
        assert not [name for name in refused.headers if name.startswith("access-control-")]


def test_its_own_host_and_origin_are_accepted(listener: Listener) -> None:
    for host in ("127.0.0.1", "localhost"):
        headers = {"host": f"{host}:{listener.port}", "origin": f"http://{host}:{listener.port}"}
        assert listener.api("GET", WORKLOADS, None, headers).status == 200


def test_a_preflight_is_granted_nothing(listener: Listener) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for origin in ("https://evil.example", listener.url):
        answer = Api.at(listener.url)("OPTIONS", WORKLOADS, None, {**asked, "origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.status >= 400


def test_the_listener_can_neither_open_others_nor_end_the_processes(listener: Listener) -> None:
    before = three(listener.thv)
    other = {"host": "127.0.0.1", "port": free_port(), "auth": "none"}
    for path, body in (("/listeners", other), ("/shutdown", None)):
        assert listener.api("POST", PREFIX + path, body).status in (403, 404)
    assert not listens(int(other["port"]))
    assert three(listener.thv) == before


def test_without_authentication_it_is_loud_and_only_on_loopback(thv: Thv) -> None:
    thv.ok("list")
    ways: list[tuple[tuple[str, ...], dict[str, str]]] = [(("--no-auth",), {}), ((), {"THV_API_AUTH": "none"})]
    for flags, environment in ways:
        with served(thv, "--port", str(free_port()), *flags, environment=environment) as serving:
            assert Api.at(serving.url())("GET", WORKLOADS).status == 200
            assert Api.at(serving.url())("GET", WORKLOADS, None, {"origin": "https://evil.example"}).status == 403
            assert "every program" in serving.said.lower()
        refused = thv("serve", "--host", "0.0.0.0", "--port", str(free_port()), *flags, environment=environment)
        assert refused.returncode == 2, refused.stderr
        assert "loopback" in refused.stderr


def test_a_unix_socket_is_for_its_user_alone_and_goes_with_the_command(thv: Thv, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with served(thv, "--socket", str(path)) as serving:
        assert stat.S_IMODE(serving.socket(path).stat().st_mode) == 0o600
        assert Api.on(path)("GET", WORKLOADS).json == {"workloads": []}
        assert serving.end() == 0
        assert not path.exists()


# How long it is open -------------------------------------------------------------------------------------------------


def test_sigterm_closes_the_listener_and_nothing_else_when_the_processes_ran_already(listener: Listener) -> None:
    before = three(listener.thv)
    assert listener.serving.end() == 0
    wait_for(lambda: not listens(listener.port))
    assert three(listener.thv) == before


def test_sigterm_ends_the_processes_that_the_command_started(thv: Thv) -> None:
    with served(thv, "--port", str(free_port())) as serving:
        serving.url()
        assert serving.end() == 0
    wait_for(lambda: not thv.left_behind())


def test_a_killed_command_leaves_no_listener(listener: Listener) -> None:
    before = three(listener.thv)
    listener.serving.process.kill()
    wait_for(lambda: not listens(listener.port))
    assert three(listener.thv) == before


def test_the_listener_is_open_again_after_control_was_replaced_or_killed(listener: Listener) -> None:
    first = listener.thv.child(CONTROL)
    listener.thv.ok("config", "set", "request_timeout", "200")
    listener.thv.ok("list")
    wait_for(lambda: listener.api("GET", WORKLOADS).status == 200)
    os.kill(listener.thv.child(CONTROL), signal.SIGKILL)
    wait_for(lambda: listener.thv.child(CONTROL) not in (0, first))
    wait_for(lambda: listener.api("GET", WORKLOADS).status == 200)
    assert listener.serving.process.poll() is None
    assert listener.serving.end() == 0


def test_a_port_that_is_taken_is_refused_with_what_to_do(listener: Listener) -> None:
    refused = listener.thv("serve", "--port", str(listener.port))
    assert refused.returncode == 1
    assert str(listener.port) in refused.stderr
    assert listener.api("GET", WORKLOADS).status == 200


# What it does --------------------------------------------------------------------------------------------------------


def test_an_app_creates_edits_stops_starts_and_deletes_a_workload(listener: Listener) -> None:
    api = listener.api
    created = api("POST", WORKLOADS, {"name": "app", "image": SERVER, "env_vars": {"GREETING": "old"}})
    assert created.status == 201, created
    assert created.json["name"] == "app"
    one = f"{WORKLOADS}/app"
    wait_for(lambda: api("GET", f"{one}/status").json["status"] == "running")
    described = api("GET", one).json
    assert (described["image"], described["env_vars"]) == (SERVER, {"GREETING": "old"})
    changed = {key: value for key, value in described.items() if key not in ("name", "registry", "server")}
    changed["env_vars"] = {"GREETING": "new"}
    assert api("POST", f"{one}/edit", changed).json == {"name": "app", "port": created.json["port"]}
    assert "new" in listener.thv.ok("mcp", "call", "app", "environment", "--arg", "name=GREETING")
    for way, status in (("stop", "stopped"), ("restart", "running")):
        assert api("POST", f"{one}/{way}").status == 202
        wait_for(lambda wanted=status: api("GET", f"{one}/status").json["status"] == wanted)
    assert api("POST", f"{WORKLOADS}/delete", {"names": ["app"]}).status == 202
    wait_for(lambda: api("GET", one).status == 404)


def test_events_tell_what_happens_to_workloads(listener: Listener) -> None:
    seen: list[tuple[str, Any]] = []
    opened, over = threading.Event(), threading.Event()

    def listen() -> None:
        with listener.api.events() as events:
            opened.set()
            for event in events:
                seen.append(event)
                if over.is_set():
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert opened.wait(20)
    listener.thv.ok("run", SERVER)
    listener.thv.ok("stop", "echo")
    wait_for(lambda: [each["status"] for name, each in seen if name == "workload"][-1:] == ["stopped"])
    statuses = [each["status"] for name, each in seen if name == "workload"]
    assert statuses[0] == "starting"
    assert "running" in statuses
    assert {"prepared", "isolated"} <= {each["progress"]["step"] for name, each in seen if name == "progress"}
    over.set()
    listener.thv.ok("rm", "echo")
    thread.join(10)
    assert not thread.is_alive()


def test_version_says_which_environment_runs(listener: Listener) -> None:
    told = listener.api.get("/version")
    assert told["pid"] == listener.thv.child(CONTROL)
    assert told["prefix"] in listener.thv.ok("version")


# What a server in a sandbox can do with it ---------------------------------------------------------------------------

TRY_TCP = """
import socket, sys
for host in sys.argv[2:]:
    try: socket.create_connection((host, int(sys.argv[1])), timeout=3).sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
    except OSError: continue
    print("escaped:", host)
print("held")
"""
TRY_UNIX = """
import socket, sys
for path in sys.argv[1:]:
    try: socket.socket(socket.AF_UNIX).connect(path)
    except OSError: continue
    print("escaped:", path)
print("held")
"""


def test_a_server_that_may_reach_everything_reaches_neither_listener(listener: Listener) -> None:
    thv = listener.thv
    thv.ok("run", "uvx://runner-mcp@1.0", "--permission-profile", "network")
    hosts = ("127.0.0.1", "localhost", "host.docker.internal", "0.0.0.0", "::1")
    sockets = (str(thv.home / "state/control.sock"), "/proc/1/root" + str(thv.home / "state/control.sock"))
    for program, arguments in ((TRY_TCP, (str(listener.port), *hosts)), (TRY_UNIX, sockets)):
        argv = python(program, *arguments)
        for proxied in (True, False):
            found = json.loads(thv.call("runner", "run", argv=argv, proxied=proxied))
            assert (found["code"], found["out"].split()) == (0, ["held"]), found
    fetched = json.loads(thv.call("runner", "run", argv=["curl", "-sS", "-m", "5", f"{listener.url}/health"]))
    assert fetched["code"] != 0
    for folder in (thv.home, thv.home / "state"):
        refused = thv("run", "uvx://runner-mcp@1.0", "--name", "nosy", "--allow-read", str(folder), "--allow-socket")
        assert refused.returncode != 0


# A fuzzer ------------------------------------------------------------------------------------------------------------

ENDLESS = r"^/api/v1beta/(events|listeners|shutdown)|/api/doc"
WITHOUT_FOLLOWING = """
import schemathesis

@schemathesis.hook
def before_call(context, case, **options):
    if case.query:
        case.query.pop("follow", None)
"""


@pytest.mark.timeout(200)
def test_a_fuzzer_of_the_served_description_finds_no_server_error(listener: Listener, tmp_path: Path) -> None:
    listener.thv.ok("run", SERVER)
    described = listener.api("GET", "/api/openapi.json").json
    assert described["openapi"].startswith("3.1")
    assert len(described["paths"]) > 15
    (tmp_path / "without_following.py").write_text(WITHOUT_FOLLOWING)
    command = [
        *(str(Path(sysconfig.get_path("scripts"), "schemathesis")), "run", f"{listener.url}/api/openapi.json"),
        *("--header", f"Authorization: Bearer {listener.token}", "--checks", "not_a_server_error"),
        *("--exclude-path-regex", ENDLESS, "--phases", "coverage,fuzzing", "--max-examples", "5"),
        *("--seed", "5", "--request-timeout", "20", "--suppress-health-check", "all", "--no-shrink"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "without_following", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert listener.thv("list").returncode == 0
