"""The MCP Inspector: a stand-in for its manners, and the real one, from npm, for its interface."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from thv_core.errors import PortUnavailable, StartFailed, TimedOut, Unsupported
from thv_supervisor import inspecting
from thv_supervisor.inspecting import NODE, Inspection, inspector
from thv_testkit.waiting import eventually

LIMIT = 30.0
STAND_IN = f"""#!{sys.executable}
import http.server, json, os, subprocess, sys
folder = os.path.dirname(os.path.abspath(__file__))
if "fails" in os.listdir(folder):
    print("npm error 404 Not Found")
    print("token", os.environ["MCP_INSPECTOR_API_TOKEN"])
    sys.exit(1)
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
with open(os.path.join(folder, "facts.new"), "w") as facts:
    json.dump({{"argv": sys.argv[1:], "environment": dict(os.environ), "pids": [os.getpid(), child.pid]}}, facts)
os.rename(os.path.join(folder, "facts.new"), os.path.join(folder, "facts"))
print("x" * 200_000, flush=True)
if "silent" in os.listdir(folder):
    child.wait()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["CLIENT_PORT"])), Page).serve_forever()
"""


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Programs:
    """A folder of programs with a node and an npx."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.program("node", "#!/bin/sh\necho v22.19.0\n")
        self.program("npx", STAND_IN)
        self.environment = {"PATH": str(folder), "HOME": str(folder)}

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "facts").read_text())
        return found


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "programs")


@pytest.fixture
def inspection() -> Inspection:
    return Inspection("http://127.0.0.1:19001/mcp", "streamable-http", free_port(), free_port())


def test_it_is_wired_to_the_workload_and_closed_to_everybody_else(programs: Programs, inspection: Inspection) -> None:
    shell = {**programs.environment, "DANGEROUSLY_OMIT_AUTH": "true", "ALLOWED_ORIGINS": "*", "HOST": "0.0.0.0"}
    with inspector(inspection, shell) as (page, _):
        facts = programs.facts()
        assert urllib.request.urlopen(page, timeout=LIMIT).status == 200
    argv, variables = facts["argv"], facts["environment"]
    assert argv[:2] == ["--yes", f"--package={inspecting.INSPECTOR}"]
    assert argv[argv.index("--server-url") + 1] == inspection.url
    assert argv[argv.index("--transport") + 1] == "http"
    assert (variables["HOST"], variables["MCP_AUTO_OPEN_ENABLED"]) == ("127.0.0.1", "false")
    assert variables["MCP_SANDBOX_PORT"] == str(inspection.proxy_port)
    assert not {"DANGEROUSLY_OMIT_AUTH", "ALLOWED_ORIGINS"} & set(variables)
    token = variables["MCP_INSPECTOR_API_TOKEN"]
    assert len(token) == 64
    assert page == f"http://127.0.0.1:{inspection.ui_port}/?MCP_INSPECTOR_API_TOKEN={token}"
    assert token not in " ".join(argv)


def test_secrets_typed_into_it_stay_in_memory_unless_the_user_says_where(inspection: Inspection) -> None:
    assert inspection.variables({}, "t")["MCP_INSPECTOR_SECRET_STORE"] == "memory"
    chosen = inspection.variables({"MCP_INSPECTOR_SECRET_STORE": "keyring"}, "t")
    assert chosen["MCP_INSPECTOR_SECRET_STORE"] == "keyring"


def test_a_server_that_speaks_sse_is_reached_by_it() -> None:
    assert "sse" in Inspection("http://x/sse", "sse", 1, 2).arguments()


def test_nothing_of_it_is_left_even_if_a_child_ignores_the_signal(
    programs: Programs, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "GRACE", 0.5)
    with inspector(inspection, programs.environment):
        pids = programs.facts()["pids"]
        assert all(is_alive(pid) for pid in pids)
    eventually(lambda: not any(is_alive(pid) for pid in pids), LIMIT)


def test_one_that_ends_by_itself_is_noticed(programs: Programs, inspection: Inspection) -> None:
    with inspector(inspection, programs.environment) as (_, ended):
        os.kill(programs.facts()["pids"][0], signal.SIGKILL)
        assert ended() == -signal.SIGKILL


def test_one_that_does_not_start_says_what_npm_said_and_never_the_token(
    programs: Programs, inspection: Inspection
) -> None:
    (programs.folder / "fails").touch()
    with pytest.raises(StartFailed) as failed, inspector(inspection, programs.environment):
        pytest.fail("it served")
    assert list(failed.value.evidence) == ["npm error 404 Not Found", "token …"]


def test_one_that_never_serves_is_given_up_and_ended(
    programs: Programs, inspection: Inspection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (programs.folder / "silent").touch()
    monkeypatch.setattr(inspecting, "PATIENCE", 1.5)
    monkeypatch.setattr(inspecting, "GRACE", 0.5)
    with pytest.raises(TimedOut), inspector(inspection, programs.environment):
        pytest.fail("it served")
    pids = programs.facts()["pids"]
    eventually(lambda: not any(is_alive(pid) for pid in pids), LIMIT)


@pytest.mark.parametrize(
    ("node", "said"),
    [(None, "needs Node, which"), ("#!/bin/sh\necho v20.20.2\n", "needs Node 22.19"), ("#!/bin/sh\nexit 1\n", "22.19")],
)
def test_without_a_node_that_it_runs_on_the_user_learns_which_to_install(
    programs: Programs, inspection: Inspection, node: str | None, said: str
) -> None:
    (programs.folder / "node").unlink()
    if node is not None:
        programs.program("node", node)
    with pytest.raises(Unsupported, match=said) as refused, inspector(inspection, programs.environment):
        pytest.fail("it served")
    assert "https://nodejs.org" in refused.value.hint
    assert not (programs.folder / "facts").exists()


def test_a_node_without_npx_is_refused(programs: Programs, inspection: Inspection) -> None:
    (programs.folder / "npx").unlink()
    with pytest.raises(Unsupported, match="needs npx"), inspector(inspection, programs.environment):
        pytest.fail("it served")


@pytest.mark.parametrize(("which", "flag"), [("ui_port", "--ui-port"), ("proxy_port", "--mcp-proxy-port")])
def test_a_port_that_is_taken_is_named_with_its_flag(
    programs: Programs, inspection: Inspection, which: str, flag: str
) -> None:
    with closing(socket.create_server(("127.0.0.1", getattr(inspection, which)))), pytest.raises(PortUnavailable) as no:
        inspector(inspection, programs.environment).__enter__()
    assert flag in no.value.hint
    assert not (programs.folder / "facts").exists()


# The real one ---------------------------------------------------------------------------------------------------------


class Workload(http.server.BaseHTTPRequestHandler):
    """An MCP server over HTTP with one tool."""

    results: ClassVar[dict[str, Any]] = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stand-in", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "tell_time", "inputSchema": {"type": "object"}}]},
    }

    def do_GET(self) -> None:
        self.send_error(405)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            self.send_response(202)
            self.end_headers()
            return
        result = self.results.get(message["method"])
        answer = {"result": result} if result else {"error": {"code": -32601, "message": "unknown"}}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def workload() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Workload) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
        server.shutdown()


@pytest.fixture
def node_environment(tmp_path: Path) -> dict[str, str]:
    """The environment of this machine, if its Node is new enough: in CI it has to be."""
    node, npx = shutil.which("node"), shutil.which("npx")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout if node else ""
    found = re.match(r"v(\d+)\.(\d+)", version)
    suits = bool(npx and found and (int(found[1]), int(found[2])) >= NODE)
    if not suits and not os.environ.get("CI"):
        pytest.skip(f"Node {NODE} is not here")
    assert suits, f"Node is {version or 'not here'}, npx {npx}"
    return {**os.environ, "MCP_STORAGE_DIR": str(tmp_path / "storage")}


def ask(page: str, path: str, body: object = None) -> Any:
    """Ask the inspector as its page does, and return the open answer."""
    origin, _, query = page.partition("/?")
    headers = {
        "x-mcp-remote-auth": f"Bearer {query.partition('=')[2]}",
        "content-type": "application/json",
        "origin": origin,
    }
    content = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(f"{origin}{path}", content, headers), timeout=LIMIT)


def told(events: Any, identifier: int) -> dict[str, Any]:
    """Return the answer with that id from a stream of the inspector's events."""
    for line in events:
        if line.startswith(b"data:"):
            data = json.loads(line[5:]).get("data") or {}
            if isinstance(data, dict) and data.get("id") == identifier:
                return data
    raise AssertionError("the stream ended")


def test_the_real_inspector_serves_its_page_and_reaches_the_tools_of_the_workload(
    node_environment: dict[str, str], workload: str
) -> None:
    inspection = Inspection(workload, "streamable-http", free_port(), free_port())
    with inspector(inspection, node_environment) as (page, _):
        assert b"MCP Inspector" in urllib.request.urlopen(page, timeout=LIMIT).read()
        config = json.load(ask(page, "/api/config"))
        assert config["defaultServerUrl"] == workload
        wired = {"config": {"type": config["defaultTransport"], "url": config["defaultServerUrl"]}}
        session = json.load(ask(page, "/api/mcp/connect", wired))["sessionId"]
        with closing(ask(page, f"/api/mcp/events?sessionId={session}")) as events:
            hello = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }
            for identifier, method, parameters in ((1, "initialize", hello), (2, "tools/list", {})):
                message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": parameters}
                sent = json.load(ask(page, "/api/mcp/send", {"sessionId": session, "message": message}))
                assert sent == {"ok": True}
            assert told(events, 2)["result"]["tools"][0]["name"] == "tell_time"
    for port in (inspection.ui_port, inspection.proxy_port):
        with closing(socket.socket()) as trial, pytest.raises(ConnectionRefusedError):
            trial.connect(("127.0.0.1", port))
