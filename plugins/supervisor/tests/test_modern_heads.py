"""What a request of the modern era repeats in its head."""

from __future__ import annotations

from typing import Any

import pytest

from thv_supervisor.modern_heads import MODERN_VERSION, Mirrors, envelope, modern_head, modern_version

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"type": "object", "properties": {"flag": {"type": "boolean", "x-mcp-header": "Flag"}}},
        "ratio": {"type": "number", "x-mcp-header": "Ratio"},
        "odd": {"type": "string", "x-mcp-header": "no token"},
        "listed": {"type": "array", "items": {"properties": {"x": {"type": "string", "x-mcp-header": "Not"}}}},
    },
}


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": envelope()}}


def head(method: str, mirrors: Mirrors | None = None, **params: Any) -> dict[str, str]:
    found = modern_head(message(method, **params), mirrors or Mirrors())
    assert (found.pop("mcp-protocol-version"), found.pop("mcp-method")) == (MODERN_VERSION, method)
    return found


def test_the_era_of_a_message_stands_in_its_envelope() -> None:
    assert modern_version(message("tools/list")) == MODERN_VERSION
    assert modern_version({"method": "tools/list", "params": {}}) == ""
    assert modern_version({"method": "tools/list", "params": [1]}) == ""
    assert modern_version(message("initialize")) == ""


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "add"}, "add"),
        ("prompts/get", {"name": "a b"}, "a b"),
        ("resources/read", {"uri": "file:///ä"}, "=?base64?ZmlsZTovLy/DpA==?="),
        ("tools/call", {"name": " add"}, "=?base64?IGFkZA==?="),
        ("tools/call", {"name": "=?base64?eA==?="}, "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
        ("tasks/get", {"taskId": "7"}, "7"),
    ],
)
def test_what_a_request_is_about_is_named(method: str, params: dict[str, Any], name: str) -> None:
    assert head(method, **params) == {"mcp-name": name}


def test_a_request_about_nothing_in_particular_names_nothing() -> None:
    assert head("tools/list", name="x") == {}


def test_annotated_arguments_are_repeated_once_the_tool_is_known() -> None:
    mirrors = Mirrors()
    arguments = {"region": "eu", "count": 3, "deep": {"flag": True}, "ratio": 1.5, "odd": "x", "listed": [{"x": "y"}]}
    assert head("tools/call", mirrors, name="t", arguments=arguments) == {"mcp-name": "t"}
    assert not mirrors.knows("t")
    mirrors.learn({"tools": [{"name": "t", "inputSchema": SCHEMA}, "odd", {"name": 5}]})
    assert mirrors.knows("t")
    assert head("tools/call", mirrors, name="t", arguments=arguments) == {
        "mcp-name": "t",
        "mcp-param-region": "eu",
        "mcp-param-count": "3",
        "mcp-param-flag": "true",
    }
    absent = {"region": None, "deep": 4, "count": [1]}
    assert head("tools/call", mirrors, name="t", arguments=absent) == {"mcp-name": "t"}
