"""Exports of thv come back as they were, and those of ToolHive as far as they can be honoured.

The documents of ToolHive are built after its reference (RunConfig, schema v0.1.0), they are not recorded.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from thv_core.errors import InvalidDocument
from thv_core.model.document import encode_document
from thv_core.model.entry import PackageRoot
from thv_core.model.plan import deployment_plan
from thv_core.model.profile import BUILTIN_PROFILES, Outbound, PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.serving import HeaderForward, ScalingConfig, SessionRedis
from thv_core.services.importing import Imported, imported
from thv_core.services.toolhive_keys import KNOWN_TO_TOOLHIVE

ANY_HOST = {"name": "network", "network": {"outbound": {"insecure_allow_all": True}}}


def of_toolhive(**more: object) -> dict[str, Any]:
    """Return what ToolHive writes for ``thv run uvx://mcp-server-time``."""
    return {
        "schema_version": "v0.1.0",
        "image": "toolhivelocal/uvx-mcp-server-time:20260105101112",
        "transport": "stdio",
        "name": "time",
        "container_name": "time",
        "base_name": "time",
        "cmd_args": None,
        "host": "127.0.0.1",
        "port": 21034,
        "target_host": "127.0.0.1",
        "target_port": 0,
        "permission_profile_name_or_path": "network",
        "permission_profile": copy.deepcopy(ANY_HOST),
        "env_vars": {"MCP_TRANSPORT": "stdio"},
        "debug": False,
        "container_labels": {"toolhive": "true", "toolhive-name": "time", "team": "search"},
        "group": "default",
        "isolate_network": True,
        "allow_docker_gateway": False,
        "proxy_mode": "streamable-http",
        "ignore_config": {"LoadGlobal": True, "PrintOverlays": False},
        "middleware_configs": [{"type": "auth", "parameters": {"oidc_config": None}}, {"type": "mcp-parser"}],
        "stateless": False,
    } | more


NPX = of_toolhive(
    name="everything",
    image="toolhivelocal/npx-everything:20260105101112",
    cmd_args=["--verbose", "a b"],
    env_vars={"LOG": "debug", "EMPTY": ""},
    secrets=["github,target=GITHUB_TOKEN"],
    group="search",
)
HTTP = of_toolhive(
    transport="streamable-http",
    target_port=8765,
    env_vars={"MCP_TRANSPORT": "streamable-http", "MCP_PORT": "8765", "FASTMCP_PORT": "8765", "MCP_HOST": "0.0.0.0"},
    allowed_origins=["http://localhost:21034", "http://127.0.0.1:21034"],
    session_ttl="2h0m0s",
)
OIDC = of_toolhive(
    oidc_config={
        "Issuer": "https://login.example",
        "Audience": "mcp",
        "JWKSURL": "",
        "ClientID": "thv",
        "ClientSecret": "hunter2",
        "CACertPath": "",
        "AuthTokenFile": "",
        "AllowPrivateIP": False,
        "InsecureAllowHTTP": False,
        "IntrospectionURL": "",
        "ResourceURL": "",
        "Scopes": ["openid"],
    },
    token_exchange_config={"token_url": "https://login.example/token", "client_secret": "hunter3"},
)
TELEMETRY = of_toolhive(
    telemetry_config={
        "endpoint": "https://otel.example",
        "serviceName": "thv-time",
        "tracingEnabled": True,
        "metricsEnabled": True,
        "samplingRate": "0.1",
        "headers": {"authorization": "hunter4"},
    }
)
REMOTE = of_toolhive(
    image="",
    remote_url="https://mcp.example/mcp",
    transport="streamable-http",
    remote_auth_config={"client_id": "x", "client_secret": "hunter6", "use_pkce": True, "callback_port": 8666},
)
VOLUMES = of_toolhive(
    volumes=["/data:/data:ro", "/out:/out"],
    permission_profile_name_or_path="/home/me/team.json",
    permission_profile={
        "name": "team",
        "read": ["/data:/data", "/etc/hosts"],
        "write": ["/out:/out"],
        "network": {
            "mode": "bridge",
            "outbound": {"insecure_allow_all": False, "allow_host": [".example.com"], "allow_port": [443]},
            "inbound": {"allow_host": None},
        },
        "privileged": False,
        "allow_transport": ["tcp"],
    },
)

SHAPES = {"npx": NPX, "http": HTTP, "oidc": OIDC, "telemetry": TELEMETRY, "remote": REMOTE, "volumes": VOLUMES}


def read(document: dict[str, Any], *, drop: bool = False) -> Imported:
    return imported(json.dumps(document, indent="\t"), "export.json", drop)


def refusal(document: dict[str, Any], *, drop: bool = False) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        read(document, drop=drop)
    return caught.value


# Exports of thv ------------------------------------------------------------------------------------------------------

FULL = RunConfig(
    name="full",
    image="npx://@scope/server@1.0.0",
    transport="streamable-http",
    host="::1",
    port=19001,
    group="a group",
    runtime="sandbox",
    cmd_args=("-v", "ü"),
    env_vars={"A": "1", "EMPTY": ""},
    secrets=("github,target=TOKEN",),
    volumes=("/a:/b:ro",),
    target_port=9000,
    container_labels={"team": "search", "empty": ""},
    allow_scripts=True,
    permission_profile_name_or_path="team.json",
    permission_profile=PermissionProfile(name="team", read=("/c:/c",), tmpfs={"/t": "1MiB"}),
    additional_middleware_configs=(MiddlewareConfig(type="x", parameters={"a": [1, None, "b"]}),),
    allowed_origins=("https://chat.example", "http://localhost:6274"),
    trust_proxy_headers=True,
    stateless=True,
    strict_protocol_validation=True,
    session_ttl="90m",
    request_timeout="1.5s",
    scaling_config=ScalingConfig(session_redis=SessionRedis(address="rediss://redis:6379")),
    tls_certificate="/c.pem",
    tls_key="/k.pem",
)


@pytest.mark.parametrize(
    "config", [FULL, RunConfig(name="time", image="uvx://mcp-server-time@1")], ids=["full", "bare"]
)
def test_an_export_of_ours_comes_back_byte_for_byte(config: RunConfig) -> None:
    exported = encode_document(config)
    found = imported(exported.decode(), "export.json")
    assert (encode_document(found.config), found.config, found.notes) == (exported, config, ())


def test_an_export_without_labels_has_the_bytes_that_it_had_before_there_were_labels() -> None:
    config = RunConfig(name="time", image="uvx://t@1", target_port=0, port=19001)
    assert encode_document(config) == b'{"name":"time","image":"uvx://t@1","port":19001,"env_vars":{}}'


def test_a_mistake_in_an_export_of_ours_is_one_of_its_own() -> None:
    assert refusal({"name": "x", "image": "uvx://y", "transprot": "stdio"}).hint == "Did you mean transport?"
    with pytest.raises(InvalidDocument, match=r"export\.json is not JSON"):
        imported("name: x\n", "export.json")
    with pytest.raises(InvalidDocument, match=r"export\.json is not JSON"):
        imported('{"image": "toolhivelocal/uvx-x:1", ', "export.json")


# Exports of ToolHive -------------------------------------------------------------------------------------------------


def test_a_python_package_is_imported_without_a_word() -> None:
    found = read(of_toolhive())
    assert found == Imported(
        RunConfig(
            name="time",
            image="uvx://mcp-server-time",
            port=21034,
            container_labels={"team": "search"},
            permission_profile_name_or_path="network",
            permission_profile=BUILTIN_PROFILES["network"],
        )
    )


def test_a_node_package_keeps_its_arguments_variables_secrets_and_group() -> None:
    config = read(NPX).config
    assert (config.image, config.cmd_args, config.group) == ("npx://everything", ("--verbose", "a b"), "search")
    assert config.env_vars == {"LOG": "debug", "EMPTY": ""}
    assert config.secrets == ("github,target=GITHUB_TOKEN",)


def test_an_http_server_keeps_its_port_and_not_the_variables_that_say_it() -> None:
    found = read(HTTP)
    assert (found.config.transport, found.config.target_port, found.config.env_vars) == ("streamable-http", 8765, {})
    assert found.notes == ()


def test_how_clients_meet_a_server_is_kept() -> None:
    kept = {
        "proxy_mode": "sse",
        "endpoint_prefix": "/team",
        "trust_proxy_headers": True,
        "strict_protocol_validation": True,
        "session_ttl": "5m0s",
        "allowed_origins": ["https://chat.example"],
        "scaling_config": {"backend_replicas": 1, "session_redis": {"address": "redis:6379", "db": 2}},
    }
    config = read(of_toolhive(**kept)).config
    found = json.loads(encode_document(config))
    del kept["scaling_config"]
    assert {key: found[key] for key in kept} == kept
    assert config.scaling_config == ScalingConfig(session_redis=SessionRedis(address="redis:6379", db=2))


def test_a_server_of_sse_is_imported_with_its_port_and_without_a_mode_that_is_for_stdio() -> None:
    config = read(of_toolhive(transport="sse", proxy_mode="sse", target_port=9000, stateless=False)).config
    assert (config.transport, config.target_port, config.proxy_mode) == ("sse", 9000, "streamable-http")


def test_the_target_port_of_a_server_on_stdio_means_nothing() -> None:
    assert read(of_toolhive(target_port=31234)).config.target_port == 0


def test_a_volume_is_granted_once_though_the_profile_repeats_it() -> None:
    found = read(VOLUMES)
    profile = found.config.permission_profile
    assert (profile.read, profile.write) == (("/etc/hosts",), ())
    assert profile.network.outbound == Outbound(allow_host=(".example.com",), allow_port=(443,))
    plan = deployment_plan(found.config, 1, PackageRoot(path="/r", command=("x",)), {})
    assert [(each.source, each.writable) for each in plan.grants] == [
        ("/etc/hosts", False),
        ("/data", False),
        ("/out", True),
    ]
    assert [note for note in found.notes if ".thvignore" in note] == list(found.notes)


@pytest.mark.parametrize(
    ("document", "listed"),
    [
        (OIDC, ["oidc_config", "token_exchange_config"]),
        (TELEMETRY, ["telemetry_config"]),
        (REMOTE, ["remote_auth_config"]),
        (of_toolhive(image="ghcr.io/acme/server:1"), ["image"]),
        (of_toolhive(image="toolhivelocal/go-server:20260105101112"), ["image"]),
        (of_toolhive(transport="inspector"), ["transport"]),
        (of_toolhive(host="0.0.0.0", tools_filter=["a"], publish=["80:80"]), ["tools_filter", "publish", "host"]),
        (of_toolhive(header_forward={"add_plaintext_headers": {"X-A": "hunter7"}}), ["header_forward"]),
        (
            of_toolhive(permission_profile={"privileged": True, "read": ["data"], "network": {"mode": "host"}}),
            ["permission_profile.privileged", "permission_profile.read", "permission_profile.network.mode"],
        ),
        (of_toolhive(volumes=["volume://cache:/cache"]), ["volumes"]),
        (of_toolhive(audit_config={"maxDataSize": 1024}), ["audit_config"]),
        (of_toolhive(middleware_configs=[{"type": "authorization", "parameters": {}}]), ["middleware_configs"]),
        (of_toolhive(middleware_configs=[{"type": "mcp-parser"}, {"type": "ratelimit"}]), ["middleware_configs"]),
        (
            of_toolhive(middleware_configs=[{"type": "auth", "parameters": {"oidc_config": {"Issuer": "https://x"}}}]),
            ["middleware_configs"],
        ),
        (of_toolhive(middleware_configs={"type": "authorization"}), ["middleware_configs"]),
        (of_toolhive(middleware_configs=[{"type": ["authorization"]}]), ["middleware_configs"]),
        (
            of_toolhive(permission_profile=None, permission_profile_name_or_path="t.json"),
            ["permission_profile_name_or_path"],
        ),
    ],
)
def test_everything_that_cannot_be_honoured_is_listed_with_its_line(
    document: dict[str, Any], listed: list[str]
) -> None:
    error = refusal(document)
    lines = json.dumps(document, indent="\t").splitlines()
    assert [each.partition(" (line ")[0] for each in error.evidence] == listed
    for each, path in zip(error.evidence, listed, strict=True):
        number = int(each.partition("(line ")[2].partition(")")[0])
        assert f'"{path.rpartition(".")[2]}"' in lines[number - 1]
        assert each.partition("): ")[2], "a reason is given"


@pytest.mark.parametrize("shape", SHAPES)
def test_no_secret_is_repeated(shape: str) -> None:
    for drop in (False, True):
        try:
            found = str(read(SHAPES[shape], drop=drop))
        except InvalidDocument as error:
            found = str(error.document())
        assert "hunter" not in found


@pytest.mark.parametrize("document", [OIDC, TELEMETRY, of_toolhive(host="0.0.0.0", publish=["80:80"])])
def test_what_is_not_offered_is_left_out_when_it_is_said_and_named_in_the_notes(document: dict[str, Any]) -> None:
    error = refusal(document)
    assert "--drop-unsupported" in error.hint
    found = read(document, drop=True)
    assert found.notes == tuple(f"left out: {each}" for each in error.evidence)
    assert found.config == read(of_toolhive()).config


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        (of_toolhive(image="ghcr.io/acme/server:1"), "Name the package of the server"),
        (of_toolhive(transport="inspector"), "Write into the document how the server speaks"),
    ],
)
def test_what_a_server_is_cannot_be_left_out(document: dict[str, Any], hint: str) -> None:
    assert refusal(document, drop=True).hint.startswith(hint)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("telemetry_config", {"serviceName": "x", "samplingRate": "0.1", "tracingEnabled": True}),
        ("audit_config", {"enabled": False, "component": "x"}),
        ("oidc_config", {"Issuer": "", "Scopes": [], "AllowPrivateIP": False}),
        ("scaling_config", {"backend_replicas": 1, "session_redis": None}),
        ("header_forward", {"add_plaintext_headers": {}, "add_headers_from_secret": {}}),
        ("runtime_config", {"builder_image": "", "additional_packages": None}),
        ("session_ttl", "0s"),
        ("registry_server_name", "io.example/time"),
        ("debug", True),
        ("isolate_network", False),
    ],
)
def test_what_says_nothing_is_ignored(key: str, value: object) -> None:
    assert read(of_toolhive(**{key: value})) == read(of_toolhive())


def test_every_key_of_toolhive_is_known_when_it_is_not_set() -> None:
    assert len(KNOWN_TO_TOOLHIVE) > 35
    assert read(of_toolhive(**dict.fromkeys(sorted(KNOWN_TO_TOOLHIVE)))) == read(of_toolhive())


def test_a_key_that_nobody_knows_is_an_error_with_the_nearest() -> None:
    error = refusal(of_toolhive(tool_filter=["x"]), drop=True)
    assert error.message.startswith("export.json: tool_filter is not a known key (line ")
    assert error.hint == "Did you mean tools_filter?"
    nested = refusal(of_toolhive(permission_profile={"raed": []}), drop=True)
    assert ("permission_profile.raed is not a known key" in nested.message, nested.hint) == (True, "Did you mean read?")


@pytest.mark.parametrize(
    ("built", "package", "doubtful"),
    [
        ("uvx-fetch", "uvx://fetch", False),
        ("uvx-mcp-server-time", "uvx://mcp-server-time", False),
        ("uvx-mcp-server-time-2026-10-19", "uvx://mcp-server-time@2026.10.19", True),
        ("uvx-context-7", "uvx://context-7", True),
        ("npx-everything", "npx://everything", False),
        ("npx-server-memory", "npx://server-memory", True),
        ("npx--modelcontextprotocol-server-memory", "npx://@modelcontextprotocol/server-memory", True),
        ("npx-modelcontextprotocol-server-memory-1-0-0", "npx://@modelcontextprotocol/server-memory@1.0.0", True),
    ],
)
def test_the_package_of_a_built_image_is_found_and_doubt_is_said(built: str, package: str, doubtful: bool) -> None:
    found = read(of_toolhive(image=f"toolhivelocal/{built}:20260105101112"))
    assert found.config.image == package
    assert [package in note for note in found.notes] == ([True] if doubtful else [])


def test_a_key_of_an_export_that_is_there_twice_is_refused_whichever_of_them_was_meant() -> None:
    narrow, wide = '{"name": "none"}', '{"network": {"outbound": {"insecure_allow_all": true}}}'
    text = f'{{"name": "a", "image": "uvx://a@1", "permission_profile": {narrow}, "permission_profile": {wide}}}'
    with pytest.raises(InvalidDocument, match=r"x\.json: permission_profile is there twice"):
        imported(text, "x.json")


def test_an_export_that_is_nested_too_deeply_is_an_error_and_never_a_crash() -> None:
    deep = '{"name": "a", "image": "uvx://a@1", "additional_middleware_configs": [{"type": "x", "parameters": {"a": '
    for depth in (40, 900, 950, 990, 100_000):
        with pytest.raises(InvalidDocument, match=r"deep|recursion"):
            imported(f"{deep}{'[' * depth}{']' * depth}}}}}]}}", "x.json")


def test_a_document_without_a_profile_is_granted_nothing_and_says_so() -> None:
    bare = of_toolhive()
    del bare["permission_profile"], bare["permission_profile_name_or_path"]
    found = read(bare)
    assert found.config.permission_profile == BUILTIN_PROFILES["none"]
    assert "has no permission profile" in found.notes[0]


@pytest.mark.parametrize(("named", "profile"), [("network", "network"), ("none", "none"), ("stdio", "none")])
def test_a_built_in_profile_is_given_by_its_name(named: str, profile: str) -> None:
    document = of_toolhive(permission_profile=None, permission_profile_name_or_path=named)
    assert read(document).config.permission_profile == BUILTIN_PROFILES[profile]


def test_hosts_without_ports_are_narrower_here_and_that_is_said() -> None:
    found = read(of_toolhive(permission_profile={"network": {"outbound": {"allow_host": ["api.example"]}}}))
    assert ["80 and 443" in note for note in found.notes] == [True]


@pytest.mark.parametrize(
    "more",
    [
        {"permission_profile": 3},
        {"volumes": "x"},
        {"env_vars": ["A=1"]},
        {"container_labels": {"a": 1}},
        {"name": 3},
        {"image": 3},
        {"transport": ["stdio"]},
        {"host": {}},
        {"port": "21034"},
        {"volumes": ["/a;b:/c"]},
        {"permission_profile": {"read": 3, "network": [], "write": [4]}},
        {"container_labels": {"-": "x"}},
        {"transport": "carrier-pigeon"},
    ],
)
def test_a_value_that_cannot_be_meant_is_an_error_and_never_a_crash(more: dict[str, object]) -> None:
    document = of_toolhive(**more)
    if more == {"host": {}}:
        assert read(document) == read(of_toolhive())
    else:
        refusal(document, drop=True)


def test_a_server_somewhere_else_keeps_its_url_and_what_its_requests_carry() -> None:
    headers = {"add_plaintext_headers": {"X-Team": "search"}, "add_headers_from_secret": {"Authorization": "token"}}
    url = "https://mcp.example/mcp?team=1"
    config = read(
        of_toolhive(image="", remote_url=url, transport="sse", target_port=443, header_forward=headers)
    ).config
    assert (config.remote_url, config.image, config.transport, config.target_port) == (url, "", "sse", 0)
    assert config.header_forward.add_headers_from_secret == {"Authorization": "token"}
    assert config.permission_profile == RunConfig(name="x").permission_profile


def test_the_password_in_a_url_is_refused_and_not_repeated() -> None:
    error = refusal(of_toolhive(image="", remote_url="https://user:hunter5@mcp.example/mcp"))
    assert "must not hold a password" in error.message
    assert "hunter5" not in str(error)


def test_an_export_of_a_server_somewhere_else_is_read_as_it_was_written() -> None:
    headers = HeaderForward(add_headers_from_secret={"Authorization": "token"})
    config = RunConfig(
        name="far",
        remote_url="https://mcp.example/mcp",
        transport="streamable-http",
        runtime="remote",
        port=19_001,
        header_forward=headers,
        stateless=True,
    )
    found = imported(encode_document(config).decode(), "far.json")
    assert (found.config, found.notes) == (config, ())
