"""A foreign client, the MCP Inspector of npm, over the URL that ``thv run`` prints."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.home import Thv

INSPECTOR = "@modelcontextprotocol/inspector@2"


@pytest.fixture(scope="session")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the inspector's command, installed from npm."""
    npm = shutil.which("npm")
    assert npm, "npm is needed: apt-get install npm"
    folder = tmp_path_factory.mktemp("inspector")
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-update-notifier"]
    subprocess.run([npm, "install", *quiet, "--prefix", str(folder), INSPECTOR], check=True, timeout=280)
    return folder / "node_modules/.bin/mcp-inspector"


def inspected(inspector: Path, url: str, *arguments: str) -> dict[str, object]:
    """Run the inspector against a server and return what it printed."""
    command = [str(inspector), "--cli", url, "--transport", "http", "--format", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)["result"]
    return answer


def test_the_inspector_lists_and_calls_tools(thv: Thv, inspector: Path) -> None:
    url = thv.ok("run", "uvx://echo-mcp@1.0").strip()
    tools = inspected(inspector, url, "--method", "tools/list")["tools"]
    assert "echo" in {tool["name"] for tool in tools}
    call = ("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hello")
    assert inspected(inspector, url, *call)["content"] == [{"type": "text", "text": "hello"}]


def test_a_client_of_both_eras_falls_back_to_the_one_that_is_spoken(thv: Thv, inspector: Path) -> None:
    url = thv.ok("run", "uvx://echo-mcp@1.0").strip()
    call = ("--protocol-era", "auto", "--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi")
    assert inspected(inspector, url, *call)["content"] == [{"type": "text", "text": "hi"}]
