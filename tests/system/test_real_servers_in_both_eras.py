"""Well-known servers of npm and PyPI in the era that they speak, called by the MCP Inspector in each of its eras."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import inspector
from harness.home import Thv
from harness.users import USERS, user_of

EVERYTHING = "npx://@modelcontextprotocol/server-everything"


@dataclass(frozen=True)
class Real:
    """How a server is run, and a call that shows that it works."""

    name: str
    package: str
    tool: str
    arguments: dict[str, Any]
    answer: str
    options: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    fails: bool = False


THOUGHT = {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}
HELLO = {"message": "hello there"}
LISTENING = ("--target-port", "3001", "--transport")

REAL = [
    Real("everything", EVERYTHING, "echo", HELLO, "hello there"),
    Real("web", EVERYTHING, "echo", HELLO, "hello there", (*LISTENING, "streamable-http"), ("streamableHttp",)),
    Real("events", EVERYTHING, "echo", HELLO, "hello there", (*LISTENING, "sse"), ("sse",)),
    Real(
        *("files", "npx://@modelcontextprotocol/server-filesystem", "read_text_file", {"path": "/granted/note.txt"}),
        *("a note for servers", ("--volume", "GRANTED:/granted:ro"), ("/granted",)),
    ),
    Real("memory", "npx://@modelcontextprotocol/server-memory", "read_graph", {}, "entities"),
    Real(
        *("thinking", "npx://@modelcontextprotocol/server-sequential-thinking", "sequentialthinking", THOUGHT),
        "thoughtNumber",
    ),
    Real("time", "uvx://mcp-server-time", "get_current_time", {"timezone": "UTC"}, "UTC"),
    # It reaches nothing from here, and says so itself: its answer has come all the way.
    Real("fetch", "uvx://mcp-server-fetch", "fetch", {"url": "http://127.0.0.1/"}, "", fails=True),
    Real(
        *("git", "uvx://mcp-server-git", "git_log", {"repo_path": "GRANTED"}, "the first of all commits"),
        *(("--allow-read", "GRANTED"), ("--repository", "GRANTED")),
    ),
]


@pytest.fixture(scope="module")
def granted() -> Iterator[tuple[Thv, str]]:
    """A home for all of them, and a folder that servers are granted: a repository with a note in it."""
    with user_of(USERS[0]) as user:
        folder = user.folder / "granted"
        folder.mkdir()
        (folder / "note.txt").write_text("a note for servers")
        commit(folder)
        user.lend(folder)
        thv = user.thv(None)
        try:
            yield thv, str(folder)
        finally:
            thv.close()


def commit(folder: Path) -> None:
    git = shutil.which("git")
    assert git, "git is needed: apt-get install git"
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.test")
    for words in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "the first of all commits")):
        subprocess.run([git, "-C", str(folder), *words], check=True, timeout=60)


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_the_inspector_lists_and_calls_the_tools_of_real_servers(granted: tuple[Thv, str], real: Real) -> None:
    thv, folder = granted

    def filled(words: tuple[str, ...]) -> list[str]:
        return [word.replace("GRANTED", folder) for word in words]

    url = thv.ok("run", real.package, "--name", real.name, *filled(real.options), "--", *filled(real.words)).strip()
    arguments = {key: folder if value == "GRANTED" else value for key, value in real.arguments.items()}
    ways = [(url, ("--transport", "http", "--protocol-era", era)) for era in inspector.ERAS]
    for address, way in (*ways, (url.replace("/mcp", "/sse"), ("--transport", "sse"))):
        assert real.tool in inspector.tools(address, *way), way
        assert real.answer in inspector.call(address, real.tool, arguments, *way, fails=real.fails), way
