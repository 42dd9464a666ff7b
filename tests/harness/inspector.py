"""The MCP Inspector of npm, a client that nobody of us wrote, from its command line."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from harness.npm import installed, node

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
ERAS = ("legacy", "auto", "modern")

TOOL_FAILED = 5


def inspected(url: str, *arguments: str, code: int = 0) -> str:
    """Run the inspector against a server, expect its exit code, and return what it printed."""
    script = installed(INSPECTOR) / ".bin" / "mcp-inspector"
    command = [node(), str(script.resolve()), "--cli", url, "--format", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout


def tools(url: str, *options: str) -> set[str]:
    """Return the names of the tools that it lists."""
    shown = json.loads(inspected(url, *options, "--method", "tools/list"))
    return {tool["name"] for tool in shown["result"]["tools"]}


def call(url: str, tool: str, arguments: dict[str, Any], *options: str, fails: bool = False) -> str:
    """Call a tool, and return the text of its result."""
    what = ("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
    shown = inspected(url, *options, *what, code=TOOL_FAILED if fails else 0)
    return "".join(part.get("text", "") for part in json.loads(shown)["result"]["content"])
