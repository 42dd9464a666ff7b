"""What is exported restores a machine to the byte, and what ToolHive exports runs here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness.home import Thv
from harness.serving import free_port
from harness.session import Session
from harness.users import User

SERVER = "uvx://echo-mcp@1.0"
LIMITED = {
    "read": [],
    "network": {"outbound": {"allow_host": ["example.com"], "allow_port": [443]}},
    "limits": {"memory": "256MiB", "pids": 64},
    "tmpfs": {"/scratch": "8MiB"},
}


@pytest.fixture
def shapes(tmp_path: Path) -> dict[str, tuple[str, ...]]:
    """The flags of workloads of many kinds, by name."""
    notes = tmp_path / "notes"
    notes.mkdir()
    User(os.getuid(), notes).lend(notes)
    profile = tmp_path / "limited.json"
    profile.write_text(json.dumps(LIMITED))
    return {
        "plain": (),
        "arguments": ("--env", "A=1", "--env", "B=two words, a comma, ünï", "--", "--era", "legacy"),
        "grants": ("--volume", f"{notes}:/notes:ro", "--volume", f"{notes}:/all", "--allow-network", "example.com"),
        "limited": ("--permission-profile", str(profile)),
        "labelled": ("--label", "team=search", "--label", "example.com/tier=", "--group", "search"),
        "speaking": ("--transport", "streamable-http", "--target-port", "8000", "--", "--http", "8000"),
        "secretive": ("--secret", "github,target=TOKEN"),
    }


def exports(thv: Thv, folder: Path, names: list[str]) -> dict[str, bytes]:
    """Export each workload, and return what was written."""
    folder.mkdir()
    for name in names:
        thv.ok("export", name, str(folder / f"{name}.json"))
    return {name: (folder / f"{name}.json").read_bytes() for name in names}


def with_secrets(thv: Thv) -> None:
    """Let the environment keep the secrets."""
    thv.environment["TOOLHIVE_SECRET_github"] = "value-of-the-secret"
    thv.ok("config", "set", "secrets.provider", "environment")


def test_what_is_exported_restores_another_home_to_the_byte(
    thv: Thv, wheels: Path, shapes: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    with_secrets(thv)
    thv.ok("group", "create", "search")
    for name, flags in shapes.items():
        thv.ok("run", SERVER, "--name", name, *flags)
    before = exports(thv, tmp_path / "before", list(shapes))
    ports = {name: thv.view(name)["port"] for name in shapes}
    assert all(b"value-of-the-secret" not in text for text in before.values())
    thv.close()
    other = Thv(tmp_path / "another-home", wheels)
    try:
        with_secrets(other)
        other.ok("group", "create", "search")
        for name in shapes:
            other.ok("run", "--from-config", str(tmp_path / f"before/{name}.json"))
        assert exports(other, tmp_path / "after", list(shapes)) == before
        views = {view["name"]: view for view in json.loads(other.ok("list", "--format", "json"))}
        assert {name: view["port"] for name, view in views.items()} == ports
        assert {view["status"] for view in views.values()} == {"running"}
        assert "value-of-the-secret" in other.call("secretive", "environment", name="TOKEN")
        assert views["labelled"]["labels"]["team"] == "search"
        assert views["labelled"]["group"] == "search"
    finally:
        other.close()


def test_everything_is_exported_as_a_manifest_that_restores_it(thv: Thv, wheels: Path, tmp_path: Path) -> None:
    thv.ok("group", "create", "search")
    thv.ok("run", SERVER, "--name", "one", "--group", "search", "--env", "A=1")
    thv.ok("run", SERVER, "--name", "two")
    file = tmp_path / "team.yaml"
    thv.ok("export", "--all", str(file))
    assert thv("apply", "-f", str(file)).stderr.count("unchanged") == 2
    thv.close()
    other = Thv(tmp_path / "another-home", wheels)
    try:
        other.ok("apply", "-f", str(file))
        again = tmp_path / "again.yaml"
        other.ok("export", "--all", str(again))
        assert again.read_bytes() == file.read_bytes()
    finally:
        other.close()


def test_an_export_is_private_and_says_so(thv: Thv, tmp_path: Path) -> None:
    thv.ok("run", SERVER)
    file = tmp_path / "made/for/it/echo.json"
    done = thv("export", "echo", str(file))
    assert done.returncode == 0, done.stderr
    assert str(file) in done.stdout + done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    missing = thv("export", "ehco", str(tmp_path / "none.json"))
    assert (missing.returncode, "echo" in missing.stderr) == (1, True)
    assert not (tmp_path / "none.json").exists()


# ToolHive's documents ------------------------------------------------------------------------------------------------


def of_toolhive(**more: Any) -> dict[str, Any]:
    """Return a RunConfig as ToolHive 0.44 exports one, with its casing and with all that it computes."""
    return {
        "schema_version": "v0.1.0",
        "image": SERVER,
        "cmd_args": ["--era", "legacy"],
        "name": "copy",
        "container_name": "copy",
        "base_name": "copy",
        "host": "127.0.0.1",
        "port": free_port(),
        "transport": "stdio",
        "proxy_mode": "streamable-http",
        "permission_profile_name_or_path": "network",
        "permission_profile": {
            "name": "network",
            "network": {"outbound": {"insecure_allow_all": True}},
        },
        "env_vars": {"GREETING": "hello", "MCP_TRANSPORT": "stdio"},
        "debug": False,
        "group": "default",
        "container_labels": {"toolhive": "true", "toolhive-name": "copy", "toolhive-transport": "stdio"},
        "ignore_config": {"LoadGlobal": True, "PrintOverlays": False},
        "isolate_network": False,
        "trust_proxy_headers": False,
        "middleware_configs": [{"type": "mcp-parser", "parameters": {}}, {"type": "recovery", "parameters": {}}],
        **more,
    }


def written(folder: Path, document: dict[str, Any]) -> str:
    """Write a document and return its path."""
    file = folder / "toolhive.json"
    file.write_text(json.dumps(document, indent=2))
    return str(file)


def test_a_document_of_toolhive_runs_at_its_port_with_its_name(thv: Thv, tmp_path: Path) -> None:
    document = of_toolhive()
    url = thv.ok("run", "--from-config", written(tmp_path, document)).strip()
    assert url == f"http://127.0.0.1:{document['port']}/mcp"
    assert Session(url).call("environment", name="GREETING") == {"value": "hello"}
    assert thv.view("copy")["name"] == "copy"


def test_a_document_of_toolhive_for_an_http_server_runs(thv: Thv, tmp_path: Path) -> None:
    document = of_toolhive(
        transport="streamable-http",
        target_port=8000,
        target_host="127.0.0.1",
        cmd_args=["--http", "8000"],
        env_vars={
            "MCP_TRANSPORT": "streamable-http",
            "MCP_PORT": "8000",
            "FASTMCP_PORT": "8000",
            "MCP_HOST": "0.0.0.0",
        },
    )
    assert Session(thv.ok("run", "--from-config", written(tmp_path, document)).strip()).count()["count"] == 1


def test_what_is_not_supported_is_listed_and_dropped_only_when_asked(thv: Thv, tmp_path: Path) -> None:
    oidc = {"Issuer": "https://issuer.example.test", "Audience": "mcp", "JWKSURL": "", "ClientID": "x", "Scopes": None}
    file = written(tmp_path, of_toolhive(oidc_config=oidc, tools_filter=["count"]))
    refused = thv("run", "--from-config", file)
    assert refused.returncode == 2
    assert all(key in refused.stderr for key in ("oidc_config", "tools_filter", "--drop-unsupported"))
    assert json.loads(thv.ok("list", "--all", "--format", "json")) == []
    done = thv("run", "--from-config", file, "--drop-unsupported")
    assert done.returncode == 0, done.stderr
    assert "oidc_config" in done.stderr
