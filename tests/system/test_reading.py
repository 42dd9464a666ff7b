"""Whatever only reads writes nothing: no file, no transaction of the database, no setting."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.api import PREFIX, Api
from harness.changing import manifest
from harness.contents import watched
from harness.home import Thv
from harness.killing import CONTROL, GATEWAY
from harness.session import Session
from harness.shortage import limited

SERVER = "uvx://echo-mcp@1.0"

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("list", "--all", "--wide"),
    ("list", "--all", "--format", "json"),
    ("list", "--format", "mcpservers"),
    ("list", "--group", "search"),
    ("list", "--label", "team=search"),
    ("status", "echo"),
    ("status", "echo", "--format", "json"),
    ("status", "ended", "--format", "json"),
    ("status", "nobody"),
    ("logs", "echo"),
    ("logs", "echo", "--tail", "3"),
    ("logs", "ended"),
    ("logs", "--proxy", "echo"),
    ("export", "echo", "OUTSIDE"),
    ("diff", "-f", "MANIFEST"),
    ("apply", "-f", "MANIFEST", "--dry-run"),
    ("group", "list"),
    ("version",),
    ("config", "list"),
    ("config", "get", "request_timeout"),
    ("plugins", "list"),
    ("profile", "explain", "echo"),
    ("egress", "log", "echo"),
    ("cache", "list"),
    ("service", "status"),
)

PATHS = (
    *("/health", "/api/openapi.json"),
    *(f"{PREFIX}/{each}" for each in ("workloads", "workloads?all=true", "groups", "groups/search", "version")),
    *(f"{PREFIX}/workloads?{each}" for each in ("group=search", "label=team=search", "group=nobody")),
    *(f"{PREFIX}/workloads/echo{each}" for each in ("", "/status", "/export", "/logs", "/logs?tail=2", "/proxy-logs")),
    *(f"{PREFIX}/workloads/ended{each}" for each in ("", "/status", "/export", "/logs", "/proxy-logs")),
    f"{PREFIX}/workloads/nobody",
)

_MOVING = re.compile(r"\"?([\d.]+[hms]?)+\"?,?|seconds?|minutes?")


@dataclass
class Reader:
    """A home with a running server in a group, and one that is stopped."""

    thv: Thv
    folder: Path

    def read(self, words: tuple[str, ...]) -> tuple[int, str]:
        """Run a command; return its exit code and what it printed."""
        files = {"OUTSIDE": str(self.folder / "outside.json"), "MANIFEST": str(self.folder / "manifest.yaml")}
        done = self.thv(*(files.get(word, word) for word in words))
        return done.returncode, done.stdout

    def get(self, path: str) -> int:
        """Read from the API; return the status."""
        return Api.of(self.thv)("GET", path).status


@pytest.fixture
def reader(thv: Thv, tmp_path: Path) -> Reader:
    thv.ok("group", "create", "search")
    url = thv.ok("run", SERVER, "--group", "search", "--label", "team=search").strip()
    Session(url).post("tools/call", {"name": "stderr", "arguments": {"text": "a line for its log"}})
    thv.ok("run", SERVER, "--name", "ended")
    thv.ok("stop", "ended")
    manifest(tmp_path / "manifest.yaml", {"name": "echo", "image": SERVER, "env_vars": {"NEW": "1"}}, groups=("more",))
    return Reader(thv, tmp_path)


def test_no_command_that_reads_writes_anything(reader: Reader) -> None:
    found = {}
    for words in COMMANDS:
        with watched(reader.thv.home) as written:
            code, _ = reader.read(words)
        assert code == (1 if "nobody" in words else 0), (words, reader.thv(*words).stderr)
        if written:
            found[" ".join(words)] = written
    assert found == {}


def test_no_get_of_the_api_writes_anything(reader: Reader) -> None:
    found = {}
    for path in PATHS:
        with watched(reader.thv.home) as written:
            status = reader.get(path)
        assert status in ((404,) if "nobody" in path else (200, 204)), (path, status)
        if written:
            found[path] = written
    with watched(reader.thv.home) as written, Api.of(reader.thv).events():
        pass
    assert (found, written) == ({}, [])


def test_everything_can_be_read_while_nothing_can_be_written(reader: Reader) -> None:
    words = [each for each in COMMANDS if "OUTSIDE" not in each]
    first = {each: _stable(reader.read(each)) for each in words}
    with _unwritable(reader.thv):
        assert {each: _stable(reader.read(each)) for each in words} == first
        assert all(reader.get(path) < 500 for path in PATHS)
        refused = reader.thv("group", "create", "new")
        assert refused.returncode == 1, "the disk was not full"
        assert "Traceback" not in refused.stderr
    reader.thv.ok("group", "create", "new")


def _stable(result: tuple[int, str]) -> tuple[int, list[str]]:
    """Leave out the numbers and units that say how long ago something was."""
    return result[0], [word for word in result[1].split() if not _MOVING.fullmatch(word)]


@contextlib.contextmanager
def _unwritable(thv: Thv) -> Iterator[None]:
    """Let the processes write no file; and, for root, let commands see the home read-only."""
    with contextlib.ExitStack() as stack:
        for module in (CONTROL, GATEWAY):
            stack.enter_context(limited(thv.child(module), 0))
        before = thv.before
        if os.getuid() == 0:
            home = str(thv.home)
            script = f'mount --bind "{home}" "{home}" && mount -o remount,bind,ro "{home}" && exec "$@"'
            thv.before = ("unshare", "--mount", "sh", "-c", script, "sh")
        stack.callback(setattr, thv, "before", before)
        yield
