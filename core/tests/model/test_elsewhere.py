"""Servers that run somewhere else: their URLs, their names, and what may be said of one."""

from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.elsewhere import is_url, place_of, url_name
from thv_core.model.run_config import RunConfig, checked

URL = "https://mcp.example.com/v1/mcp?team=a"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.example.com/mcp", "example"),
        ("https://example.com", "example"),
        ("http://localhost:8080/mcp", "localhost"),
        ("http://127.0.0.1:8080/mcp", "127.0.0.1"),
        ("https://[::1]:8443/mcp", "1"),
        ("https://mcp.example.com./mcp", "example"),
    ],
)
def test_a_workload_is_named_after_the_second_level_of_its_host(url: str, name: str) -> None:
    assert url_name(url) == name


@pytest.mark.parametrize("server", ["uvx://mcp-server-time", "time", "ftp://x/y", "/https://x"])
def test_only_a_url_of_the_web_names_a_place_somewhere_else(server: str) -> None:
    assert not is_url(server)
    assert is_url("HTTPS://example.com")


def test_people_read_the_host_and_never_the_query() -> None:
    assert place_of(URL) == "mcp.example.com"
    assert place_of("http://127.0.0.1:9/mcp?key=1") == "127.0.0.1:9"


def test_its_transport_is_streamable_http_and_it_has_no_port_of_its_own() -> None:
    config = checked(RunConfig(name="x", remote_url=URL))
    assert (config.transport, config.target_port) == ("streamable-http", 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"image": "uvx://a@1"}, "an image and a remote_url"),
        ({"env_vars": {"A": "1"}}, "env_vars means nothing"),
        ({"cmd_args": ("a",)}, "cmd_args means nothing"),
        ({"volumes": ("/a:/b",)}, "volumes means nothing"),
        ({"target_port": 8000}, "target_port means nothing"),
        ({"remote_url": "https://user:secret@example.com/mcp"}, "must not hold a password"),
        ({"remote_url": "https:///mcp"}, "is not the URL"),
        ({"remote_url": "https://example.com/a b"}, "is not the URL"),
        ({"remote_url": "https://example.com/mcp#top"}, "is not the URL"),
        ({"remote_url": "https://example.com:0/mcp"}, "is not the URL"),
    ],
)
def test_what_cannot_be_said_of_it_is_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        checked(RunConfig(**{"name": "x", "remote_url": URL, **more}))
    assert "user:" not in str(caught.value)


def test_a_workload_runs_somewhere() -> None:
    with pytest.raises(InvalidRequest, match="neither an image nor a remote_url"):
        checked(RunConfig(name="x"))
