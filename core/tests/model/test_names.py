from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.names import derived_name, valid_name


@pytest.mark.parametrize("name", ["a", "Time", "time-2", "a.b_c-d", "9", "x" * 100])
def test_a_valid_name_is_returned(name: str) -> None:
    assert valid_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "é", "x" * 101, "..", "a:b", "a\0"])
def test_an_invalid_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot name a workload"):
        valid_name(name)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("uvx://mcp-server-time@1.2", "time"),
        ("uvx://mcp-server-time", "time"),
        ("uvx://mcp-server-time==1.2", "time"),
        ("uvx://thing[extra]@1", "thing"),
        ("uvx://server-x", "x"),
        ("uvx://x-mcp", "x"),
        ("uvx://mcp-server-", "mcp-server"),
        ("npx://@scope/mcp-server-files@1", "files"),
        ("go://github.com/acme/tool@latest", "tool"),
        ("fetch", "fetch"),
        ("ghcr.io/acme/fetch-mcp", "fetch"),
        ("uvx://a b", "a-b"),
        ("uvx://___", "server"),
        ("uvx://", "server"),
    ],
)
def test_a_name_is_derived_from_what_is_run(reference: str, name: str) -> None:
    assert derived_name(reference) == name
