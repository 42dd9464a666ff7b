"""Which server and tool are meant, and what becomes of the arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import Unavailable
from thv_supervisor import mcp_client
from thv_supervisor.commands.mcp import mcp

STATUS = "/api/v1beta/workloads/a/status"
SCHEMA = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "ratio": {"type": "number"},
    "flag": {"type": "boolean"},
    "list": {"type": "array"},
    "map": {"type": "object"},
    "any": {},
}


class FakeServer:
    """An MCP server with one tool; remembers what it was asked."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, float]] = []
        self.calls: list[dict[str, object]] = []
        self.result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}]}
        self.tools: list[dict[str, Any]] = [
            {"name": "t", "description": "\n First line.\nSecond.", "inputSchema": {"properties": SCHEMA}},
            {"name": "bare"},
        ]

    def __call__(self, url: str, timeout: float, patience: float = 0.0) -> FakeServer:
        self.opened.append((url, timeout))
        return self

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""

    def pages(self, method: str, key: str) -> list[dict[str, Any]]:
        return self.tools

    def request(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        self.calls.append(params)
        return self.result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, control: Any) -> FakeServer:
    server = FakeServer()
    monkeypatch.setattr(mcp_client, "McpClient", server)
    control.answers["GET", STATUS] = {"status": "running", "url": "http://a/mcp"}
    return server


def given(server: FakeServer) -> object:
    return server.calls[-1]["arguments"]


def test_a_server_is_a_workload_or_a_url(invoke: Any, server: FakeServer, control: Any) -> None:
    for arguments in (("a",), ("--server", "a"), ("--server", "https://x/mcp", "--timeout", "2.5")):
        assert invoke(mcp, "list", "tools", *arguments).exit_code == 0
    assert server.opened == [("http://a/mcp", 30.0), ("http://a/mcp", 30.0), ("https://x/mcp", 2.5)]
    assert len(control.calls) == 2


@pytest.mark.parametrize("words", [("list", "tools", "a"), ("call", "a", "t")])
@pytest.mark.parametrize("status", ["stopped", "starting", "error"])
def test_a_workload_that_does_not_run_is_not_opened(
    invoke: Any, server: FakeServer, control: Any, words: tuple[str, ...], status: str
) -> None:
    control.answers["GET", STATUS] = {"status": status, "url": "http://a/mcp"}
    with pytest.raises(Unavailable, match=f"^a is {status}") as refused:
        invoke(mcp, *words)
    assert refused.value.hint == "thv start a"
    assert server.opened == []


@pytest.mark.parametrize(
    "arguments", [("list", "tools"), ("list", "tools", "a", "--server", "b"), ("call", "t"), ("call", "a", "t", "x")]
)
def test_which_server_must_be_clear(invoke: Any, server: FakeServer, arguments: tuple[str, ...]) -> None:
    assert invoke(mcp, *arguments).exit_code == 2
    assert server.opened == []


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "1e9"])
def test_a_timeout_that_is_none_is_refused(invoke: Any, server: FakeServer, seconds: str) -> None:
    assert invoke(mcp, "list", "tools", "a", "--timeout", seconds).exit_code == 2
    assert server.opened == []


def test_tools_are_listed_with_the_first_line_of_each(invoke: Any, server: FakeServer, console: Any) -> None:
    invoke(mcp, "list", "tools", "a")
    assert console.tables == [(("NAME", "DESCRIPTION"), [["t", "First line."], ["bare", ""]])]
    invoke(mcp, "list", "tools", "a", "--format", "json")
    assert console.documents == [{"tools": server.tools}]


@pytest.mark.parametrize("words", [("a", "t"), ("t", "--server", "a")])
def test_a_tool_is_called_and_its_text_is_printed(
    invoke: Any, server: FakeServer, console: Any, words: tuple[str, ...]
) -> None:
    assert invoke(mcp, "call", *words).exit_code == 0
    assert server.calls == [{"name": "t", "arguments": {}}]
    assert console.lines == ["done"]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=5", "5"),
        ("text=true", "true"),
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("count=5", 5),
        ("count=x", "x"),
        ("ratio=0.5", 0.5),
        ("flag=true", True),
        ("list=[1, 2]", [1, 2]),
        ('map={"a": null}', {"a": None}),
        ("any=5", "5"),
        ("undeclared=5", "5"),
    ],
)
def test_an_argument_has_the_type_that_the_tool_declares(
    invoke: Any, server: FakeServer, pair: str, value: object
) -> None:
    assert invoke(mcp, "call", "a", "t", "--arg", pair).exit_code == 0
    assert given(server) == {pair.partition("=")[0]: value}


def test_an_argument_of_a_tool_without_schema_is_text(invoke: Any, server: FakeServer) -> None:
    assert invoke(mcp, "call", "a", "bare", "--arg", "x=5").exit_code == 0
    assert given(server) == {"x": "5"}


def test_all_arguments_come_from_json_a_file_or_standard_input(invoke: Any, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text('{"text": "file"}')
    invoke(mcp, "call", "a", "t", "--args", '{"text": "flag", "count": 1}', "--arg", "text=5")
    assert given(server) == {"text": "5", "count": 1}
    invoke(mcp, "call", "a", "t", "--args-file", "arguments.json")
    assert given(server) == {"text": "file"}
    invoke(mcp, "call", "a", "t", "--args-file", "-", input='{"text": "input"}')
    assert given(server) == {"text": "input"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--args", "{"), "are not JSON"),
        (("--args", "[]"), "are not a JSON object"),
        (("--args", "5"), "are not a JSON object"),
        (("--args", "{}", "--args-file", "x"), "exclude each other"),
        (("--args-file", "missing"), "No such file"),
        (("--arg", "x"), "is not KEY=VALUE"),
    ],
)
def test_arguments_that_cannot_be_meant_call_nothing(
    invoke: Any, server: FakeServer, flags: tuple[str, ...], words: str
) -> None:
    result = invoke(mcp, "call", "a", "t", *flags)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert server.calls == []


@pytest.mark.parametrize(("flags", "code"), [((), 1), (("--ignore-tool-error",), 0)])
def test_a_tool_error_is_printed_and_fails_unless_ignored(
    invoke: Any, server: FakeServer, console: Any, flags: tuple[str, ...], code: int
) -> None:
    server.result |= {"isError": True}
    assert invoke(mcp, "call", "a", "t", *flags).exit_code == code
    assert console.lines == ["done"]


def test_what_is_no_text_is_printed_as_json(invoke: Any, server: FakeServer, console: Any) -> None:
    image = {"type": "image", "data": "eA==", "mimeType": "image/png"}
    server.result = {"content": [image]}
    invoke(mcp, "call", "a", "t")
    assert [json.loads(line) for line in console.lines] == [image]
    invoke(mcp, "call", "a", "t", "--format", "json")
    assert console.documents == [{"content": [image]}]
