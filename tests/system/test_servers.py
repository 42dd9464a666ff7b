"""Well-known servers of npm and PyPI do their work through the gateway, and no more than their grants allow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.home import Thv
from harness.users import USERS, User, user_of

EVERYTHING = "npx://@modelcontextprotocol/server-everything"
FILES = "npx://@modelcontextprotocol/server-filesystem"
MEMORY = "npx://@modelcontextprotocol/server-memory"
GIT = "uvx://mcp-server-git"


@dataclass(frozen=True)
class Setting:
    """A user's thv, and a folder of somebody ordinary that servers are granted."""

    user: User
    thv: Thv
    folder: Path


@pytest.fixture(scope="module", params=USERS)
def setting(request: pytest.FixtureRequest) -> Iterator[Setting]:
    """One home for all of them, so that what they share is prepared once."""
    with user_of(request.param) as user:
        folder = user.folder / "granted"
        folder.mkdir()
        made = Setting(user, user.thv(None), folder)
        user.lend(folder)
        try:
            yield made
        finally:
            made.thv.close()


def test_everything_answers_over_stdio(setting: Setting) -> None:
    setting.thv.ok("run", EVERYTHING, "--name", "everything")
    assert "hello there" in setting.thv.call("everything", "echo", message="hello there")


def test_everything_answers_over_http_and_nothing_of_it_is_published(setting: Setting) -> None:
    listening = ("--transport", "streamable-http", "--target-port", "3001")
    setting.thv.ok("run", EVERYTHING, "--name", "web", *listening, "--", "streamableHttp")
    assert "hello there" in setting.thv.call("web", "echo", message="hello there")
    assert "3001" not in _listening_ports()
    setting.thv.ok("restart", "web")
    assert "and again" in setting.thv.call("web", "echo", message="and again")


def _listening_ports() -> str:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return " ".join(str(int(words[1].rpartition(":")[2], 16)) for words in lines if words[3] == "0A")


def test_the_filesystem_server_reads_its_grant_and_neither_writes_it_nor_reads_anything_else(setting: Setting) -> None:
    thv, note = setting.thv, setting.folder / "note.txt"
    note.write_text("a note for servers")
    elsewhere = setting.user.folder / "elsewhere.txt"
    elsewhere.write_text("not for servers")
    elsewhere.chmod(0o644)
    setting.user.lend(note)
    thv.ok("run", FILES, "--name", "files", "--volume", f"{setting.folder}:/granted:ro", "--", "/")
    assert thv.call("files", "read_text_file", path="/granted/note.txt") == "a note for servers"
    seen = thv("mcp", "call", "files", "list_directory", "--args", json.dumps({"path": str(setting.user.folder)}))
    assert "elsewhere" not in seen.stdout
    denied = {
        "write_file": {"path": "/granted/new.txt", "content": "x"},
        "create_directory": {"path": "/granted/new"},
        "move_file": {"source": "/granted/note.txt", "destination": "/granted/moved.txt"},
        "read_text_file": {"path": str(elsewhere)},
    }
    for tool, arguments in denied.items():
        done = thv("mcp", "call", "files", tool, "--args", json.dumps(arguments))
        assert done.returncode != 0, (tool, done.stdout)
        assert any(word in done.stdout + done.stderr for word in ("EROFS", "ENOENT", "EACCES", "read-only")), done
    assert thv("mcp", "call", "files", "read_text_file", "--args", '{"path": "/etc/shadow"}').returncode != 0
    assert [path.name for path in setting.folder.iterdir()] == ["note.txt"]


def test_memory_holds_an_entity_through_a_kill_of_all_three_processes(setting: Setting) -> None:
    # This server reads its file at each call: in the sandbox's own memory it is lost with the sandbox, never before.
    thv = setting.thv
    thv.ok("run", MEMORY, "--name", "memory", "--env", "MEMORY_FILE_PATH=/tmp/memory.jsonl")
    pid = thv.view("memory")["pid"]
    entity = {"name": "thv", "entityType": "program", "observations": ["survives"]}
    thv.call("memory", "create_entities", entities=[entity])
    children = [thv.child(f"thv_supervisor.{each}") for each in ("control", "gateway_process")]
    for process in (thv.supervisor(), *children):
        os.kill(process, signal.SIGKILL)
    assert "survives" in thv.call("memory", "read_graph")
    assert thv.view("memory")["pid"] == pid
    thv.ok("restart", "memory")
    assert "survives" not in thv.call("memory", "read_graph")


def test_git_reads_a_repository(setting: Setting) -> None:
    repository = setting.folder / "repository"
    repository.mkdir()
    git = shutil.which("git")
    assert git, "git is needed: apt-get install git"
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.test")
    for words in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "the first of all commits")):
        subprocess.run([git, "-C", str(repository), *words], check=True, timeout=60)
    setting.user.lend(repository)
    setting.thv.ok("run", GIT, "--name", "git", "--allow-read", str(repository), "--", "--repository", str(repository))
    assert "the first of all commits" in setting.thv.call("git", "git_log", repo_path=str(repository))
    arguments = json.dumps({"repo_path": str(repository), "branch_name": "new"})
    assert setting.thv("mcp", "call", "git", "git_create_branch", "--args", arguments).returncode != 0
