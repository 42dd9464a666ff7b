"""A foreign client, the MCP Inspector of npm, over the URL that ``thv run`` prints."""

from __future__ import annotations

import pytest
from harness import inspector
from harness.home import Thv

HTTP = ("--transport", "http")


@pytest.mark.parametrize("era", inspector.ERAS)
def test_the_inspector_lists_and_calls_tools_in_every_era(thv: Thv, era: str) -> None:
    url = thv.ok("run", "uvx://echo-mcp@1.0").strip()
    options = (*HTTP, "--protocol-era", era)
    assert "echo" in inspector.tools(url, *options)
    assert inspector.call(url, "echo", {"text": "hello"}, *options) == "hello"
