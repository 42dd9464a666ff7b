"""Which server and tool are meant, and what becomes of the arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thv_core.errors import InvalidRequest, NotFound, Unavailable
from thv_supervisor import mcp_client
from thv_supervisor.commands.mcp import mcp
from thv_supervisor.places import Place

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
        self.manners: list[mcp_client.Manner] = []
        self.calls: list[dict[str, object]] = []
        self.others: dict[str, list[dict[str, Any]]] = {}
        self.refuses: mcp_client.Refusal | None = None
        self.result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}]}
        self.tools: list[dict[str, Any]] = [
            {"name": "t", "description": "\n First line.\nSecond.", "inputSchema": {"properties": SCHEMA}},
            {"name": "bare"},
        ]

    def __call__(
        self,
        place: Place | str,
        timeout: float,
        patience: float = 0.0,
        manner: mcp_client.Manner = mcp_client.Manner(),  # noqa: B008 - it is frozen, so that one serves for all
    ) -> FakeServer:
        self.opened.append((place if isinstance(place, str) else place.url, timeout))
        self.manners.append(manner)
        return self

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing."""

    def pages(self, method: str, key: str) -> list[dict[str, Any]]:
        return self.tools

    def offered(self, method: str, key: str) -> list[dict[str, Any]]:
        return self.tools if key == "tools" else self.others.get(key, [])

    def request(self, method: str, params: dict[str, object]) -> dict[str, Any]:
        self.calls.append(params)
        if self.refuses is not None:
            raise self.refuses
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("1m", 60), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("24h", 86400)],
)
def test_a_timeout_is_seconds_or_a_duration_as_toolhive_writes_it(
    invoke: Any, server: FakeServer, text: str, seconds: float
) -> None:
    assert invoke(mcp, "list", "tools", "a", "--timeout", text).exit_code == 0
    assert server.opened == [("http://a/mcp", seconds)]


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "1e9", "25h", "1m 30s", "s", "5d", "nan", ""])
def test_a_timeout_that_is_none_is_refused(invoke: Any, server: FakeServer, seconds: str) -> None:
    assert invoke(mcp, "list", "tools", "a", "--timeout", seconds).exit_code == 2
    assert server.opened == []


def test_tools_are_listed_with_the_first_line_of_each(invoke: Any, server: FakeServer, console: Any) -> None:
    invoke(mcp, "list", "tools", "a")
    assert console.tables == [(("NAME", "DESCRIPTION"), [["t", "First line."], ["bare", ""]])]
    invoke(mcp, "list", "tools", "a", "--format", "json")
    assert console.documents == [{"tools": server.tools}]


RESOURCE = {"name": "readme", "uri": "file:///readme", "description": "Read it."}
TEMPLATE = {"name": "file", "uriTemplate": "file:///{path}"}


def test_everything_that_a_server_offers_is_listed_in_sections(invoke: Any, server: FakeServer, console: Any) -> None:
    server.others = {"resources": [RESOURCE], "resourceTemplates": [TEMPLATE], "prompts": [{"name": "greet"}]}
    assert invoke(mcp, "list", "--server", "a").exit_code == 0
    assert [line.strip() for line in console.lines] == ["Tools", "Resources", "Resource templates", "Prompts"]
    assert console.tables == [
        (("NAME", "DESCRIPTION"), [["t", "First line."], ["bare", ""]]),
        (("NAME", "URI", "DESCRIPTION"), [["readme", "file:///readme", "Read it."]]),
        (("NAME", "URI TEMPLATE", "DESCRIPTION"), [["file", "file:///{path}", ""]]),
        (("NAME", "DESCRIPTION"), [["greet", ""]]),
    ]


def test_what_a_server_offers_as_json_has_toolhives_keys(invoke: Any, server: FakeServer, console: Any) -> None:
    server.others = {"resources": [RESOURCE]}
    invoke(mcp, "list", "--server", "a", "--format", "json")
    assert console.documents == [
        {"tools": server.tools, "resources": [RESOURCE], "resourceTemplates": [], "prompts": []}
    ]


def test_one_kind_is_listed_and_a_server_without_templates_shows_no_table_of_them(
    invoke: Any, server: FakeServer, console: Any
) -> None:
    server.others = {"resources": [RESOURCE]}
    assert invoke(mcp, "list", "resources", "a").exit_code == 0
    assert [columns for columns, _ in console.tables] == [("NAME", "URI", "DESCRIPTION")]
    assert console.lines == []


def test_options_before_the_kind_hold_for_it(invoke: Any, server: FakeServer, console: Any) -> None:
    assert invoke(mcp, "list", "--server", "a", "--timeout", "2s", "--format", "json", "prompts").exit_code == 0
    assert server.opened == [("http://a/mcp", 2.0)]
    assert console.documents == [{"prompts": []}]


@pytest.mark.parametrize("words", [("list",), ("list", "tools"), ("call", "t")])
@pytest.mark.parametrize(
    ("flags", "url", "manner"),
    [
        ((), "http://a/sse#a", ("auto", "auto")),
        (("--transport", "sse"), "http://a/sse", ("sse", "auto")),
        (("--transport", "streamable-http"), "http://a/mcp", ("streamable-http", "auto")),
        (("--protocol-era", "modern"), "http://a/mcp", ("auto", "modern")),
        (("--protocol-era", "legacy", "--transport", "sse"), "http://a/sse", ("sse", "legacy")),
    ],
)
def test_a_workload_is_reached_where_the_transport_is_whatever_it_shows(
    invoke: Any,
    server: FakeServer,
    control: Any,
    words: tuple[str, ...],
    flags: tuple[str, ...],
    url: str,
    manner: tuple[str, str],
) -> None:
    control.answers["GET", STATUS] = {"status": "running", "url": "http://a/sse#a"}
    assert invoke(mcp, *words, "--server", "a", *flags).exit_code == 0
    assert ([each[0] for each in server.opened], server.manners) == ([url], [manner])


def test_a_url_is_taken_as_it_is(invoke: Any, server: FakeServer) -> None:
    assert invoke(mcp, "list", "--server", "https://far.example/x?y=1", "--transport", "sse").exit_code == 0
    assert server.opened == [("https://far.example/x?y=1", 30.0)]


def test_the_modern_era_has_no_sse(invoke: Any, server: FakeServer) -> None:
    with pytest.raises(InvalidRequest, match="the modern era has no transport sse"):
        invoke(mcp, "list", "--server", "a", "--transport", "sse", "--protocol-era", "modern")
    assert server.opened == []


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


@pytest.mark.parametrize(
    ("tool", "hint"), [("bar", "Did you mean bare?"), ("something", "It has t, bare.")], ids=["nearly one", "none"]
)
def test_a_tool_that_the_server_refuses_and_has_not_gets_the_nearest(
    invoke: Any, server: FakeServer, tool: str, hint: str
) -> None:
    server.refuses = mcp_client.Refusal(f"the server refused tools/call: Unknown tool: {tool}")
    with pytest.raises(NotFound, match=f"the server has no tool {tool}") as refused:
        invoke(mcp, "call", "--server", "http://x/mcp", tool)
    assert (list(refused.value.evidence), refused.value.hint) == ([server.refuses.message], hint)


def test_a_refusal_of_a_tool_that_there_is_stays_what_it_is(invoke: Any, server: FakeServer) -> None:
    server.refuses = mcp_client.Refusal("the server refused tools/call: not today")
    with pytest.raises(mcp_client.Refusal, match="not today"):
        invoke(mcp, "call", "--server", "http://x/mcp", "bare")


def test_a_server_in_the_place_of_a_list_is_told_where_it_belongs(invoke: Any, server: FakeServer) -> None:
    with pytest.raises(InvalidRequest, match="there is no list 'time'") as refused:
        invoke(mcp, "list", "time")
    assert "thv mcp list --server time" in refused.value.hint


def test_what_is_no_text_is_printed_as_json(invoke: Any, server: FakeServer, console: Any) -> None:
    image = {"type": "image", "data": "eA==", "mimeType": "image/png"}
    server.result = {"content": [image]}
    invoke(mcp, "call", "a", "t")
    assert [json.loads(line) for line in console.lines] == [image]
    invoke(mcp, "call", "a", "t", "--format", "json")
    assert console.documents == [{"content": [image]}]
