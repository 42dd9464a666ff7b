"""The servers that these tests run, as an index of wheels on this disk."""

from __future__ import annotations

from pathlib import Path

from harness.wheels import wheel

TESTKIT = Path(__file__).parents[2] / "plugins/testkit/src/thv_testkit"
PROBER = Path(__file__).with_name("prober.py")
CLIENT_LIBRARIES = ("aiohttp", "httpx", "requests")


def offer(folder: Path) -> None:
    """Write the testkit's echo server, one that runs commands, the same with libraries, and one without executable."""
    echo = {f"thv_testkit/echo/{path.name}": path.read_text() for path in (TESTKIT / "echo").glob("*.py")}
    wheel(folder, "echo-mcp", {"thv_testkit/__init__.py": "", **echo}, {"echo-mcp": "thv_testkit.echo.__main__:main"})
    wheel(folder, "no-scripts", {"no_scripts.py": ""}, {})
    prober = {"prober_mcp.py": PROBER.read_text()}
    wheel(folder, "prober-mcp", prober, {"prober-mcp": "prober_mcp:main"}, CLIENT_LIBRARIES)
    wheel(folder, "runner-mcp", prober, {"runner-mcp": "prober_mcp:main"})
