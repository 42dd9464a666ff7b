from __future__ import annotations

import json

import pytest

from thv_core.errors import InvalidDocument, InvalidRequest
from thv_core.model.document import encode_document
from thv_core.model.profile import PermissionProfile
from thv_core.model.run_config import MiddlewareConfig, RunConfig, checked, decode_run_config

MINIMAL = {"name": "time", "image": "uvx://mcp-server-time@1.0"}


def decoded(**more: object) -> RunConfig:
    return decode_run_config(json.dumps(MINIMAL | more), "time.json")


def refusal(**more: object) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        decoded(**more)
    return caught.value


def test_a_minimal_configuration_has_safe_defaults() -> None:
    config = decoded()
    assert (config.transport, config.host, config.port, config.group) == ("stdio", "127.0.0.1", 0, "default")
    assert config.permission_profile == PermissionProfile(name="none")


def test_an_export_holds_what_differs_from_the_defaults_and_comes_back() -> None:
    config = decoded(env_vars={"A": "1"}, additional_middleware_configs=[{"type": "audit", "parameters": {"x": 1}}])
    exported = encode_document(config)
    assert set(json.loads(exported)) == {"name", "image", "env_vars", "additional_middleware_configs"}
    assert decode_run_config(exported, "") == config
    assert config.additional_middleware_configs == (MiddlewareConfig(type="audit", parameters={"x": 1}),)


def test_labels_are_exported_when_there_are_any_and_never_shared() -> None:
    bare = decoded()
    assert encode_document(bare) == b'{"name":"time","image":"uvx://mcp-server-time@1.0","env_vars":{}}'
    assert b'"container_labels":{"team":"search"}' in encode_document(decoded(container_labels={"team": "search"}))
    assert bare.container_labels is not decoded().container_labels


def test_secrets_are_references() -> None:
    config = decoded(secrets=["github,target=TOKEN"])
    assert [(each.name, each.target) for each in config.secret_references] == [("github", "TOKEN")]


def test_an_unknown_key_is_named_with_its_line() -> None:
    with pytest.raises(InvalidDocument, match=r"time\.json: transprot is not a known key \(line 4\)") as caught:
        decode_run_config('{\n "name": "x",\n "image": "y",\n "transprot": "stdio"\n}', "time.json")
    assert caught.value.hint == "Did you mean transport?"


HTTP: dict[str, object] = {"transport": "streamable-http"}
REACHING: dict[str, object] = {"permission_profile": {"network": {"outbound": {"allow_host": ["db.example:5432"]}}}}

REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "a variable with NUL": ({"env_vars": {"A": "a\0b"}}, "env_vars.A has a NUL character"),
    "an argument with NUL": ({"cmd_args": ["a", "\0"]}, "cmd_args[1] has a NUL character"),
    "another schema": ({"schema_version": "v9"}, "schema_version 'v9' is not"),
    "an unknown transport": ({"transport": "carrier-pigeon"}, "is not one of stdio, sse, streamable-http"),
    "a port without a transport that has one": ({"target_port": 8000}, "means nothing to a server that speaks stdio"),
    "a port that needs privileges": (HTTP | {"target_port": 80}, "target_port 80 is not between 1024 and 65535"),
    "a target port that is too large": (HTTP | {"target_port": 65536}, "is not between 1024 and 65535"),
    "the port of the proxy": (HTTP | {"target_port": 3128} | REACHING, "3128 is where its HTTP proxy is"),
    "an own port that may be reached elsewhere": (
        HTTP | {"target_port": 5432} | REACHING,
        "the server's own port 5432 is one that it may reach at other hosts",
    ),
    "the usual port when it may be reached elsewhere": (
        HTTP | {"permission_profile": {"network": {"outbound": {"allow_port": [8080]}}}},
        "the server's own port 8080 is one that it may reach at other hosts",
    ),
    "a rule that cannot be meant": (
        {"permission_profile": {"network": {"outbound": {"allow_host": ["a b"]}}}},
        "network.outbound: 'a b' does not say what may be reached",
    ),
    "too little memory": ({"permission_profile": {"limits": {"memory": "1MiB"}}}, "limits.memory: no server runs in"),
    "a bad memory folder": ({"permission_profile": {"tmpfs": {"x": "1MiB"}}}, "tmpfs: 'x' is not absolute"),
    "a public address": ({"host": "0.0.0.0"}, "not a loopback address"),
    "a negative port": ({"port": -1}, "not between 0 and 65535"),
    "a port that is too large": ({"port": 65536}, "not between 0 and 65535"),
    "a name of no variable": ({"env_vars": {"A-B": ""}}, "'A-B' is not the name of an environment variable"),
    "a variable twice": ({"env_vars": {"A": ""}, "secrets": ["x,target=A"]}, "A is set more than once"),
    "two secrets in one": ({"secrets": ["x,target=A", "y,target=A"]}, "A is set more than once"),
    "a malformed secret": ({"secrets": ["x"]}, "'x' is not a secret reference"),
    "parameters nested too deeply": (
        {"additional_middleware_configs": [{"type": "x", "parameters": {"a": json.loads("[" * 40 + "]" * 40)}}]},
        "the parameters of the middleware x are nested more than 32 deep",
    ),
    "a privileged profile": ({"permission_profile": {"privileged": True}}, "privileged"),
    "a bad mount": ({"permission_profile": {"read": ["x"]}}, "'x' is not absolute"),
    "a bad mount to write": ({"permission_profile": {"write": ["/a:/b:/c"]}}, "is not a mount"),
    "a bad volume": ({"volumes": ["x:/y"]}, "is not absolute"),
    "a bad group": ({"group": "Search"}, "'Search' cannot name a group"),
    "a bad key of a label": ({"container_labels": {"-": "x"}}, "'-' cannot be the key of a label"),
    "a bad value of a label": ({"container_labels": {"a": "x y"}}, "'x y' cannot be the value of the label a"),
    "a bad name": ({"name": "../x"}, "cannot name a workload"),
    "an unknown key within": ({"permission_profile": {"reads": []}}, "permission_profile.reads is not a known key"),
    "a wrong type": ({"port": "80"}, "port must be a whole number, not text"),
    "values of secrets": ({"secrets": {"x": "v"}}, "secrets must be a list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_thv_cannot_act_on_is_refused_by_name(case: str) -> None:
    more, reason = REFUSED[case]
    message = refusal(**more).message
    assert message.startswith("time.json: ")
    assert reason in message


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_addresses_are_accepted(host: str) -> None:
    assert decoded(host=host).host == host


def test_a_configuration_that_was_built_is_checked_alike() -> None:
    config = RunConfig(name="x", image="y", port=70000)
    with pytest.raises(InvalidRequest, match="70000"):
        checked(config)
    assert checked(RunConfig(name="x", image="y", port=80)).port == 80


# Servers that listen -------------------------------------------------------------------------------------------------


def test_an_http_server_listens_at_the_usual_port_unless_another_is_said() -> None:
    assert decoded(**HTTP).target_port == 8080
    assert decoded(transport="sse").target_port == 8080
    assert decoded(**HTTP, target_port=8000).target_port == 8000
    assert decoded().target_port == 0


@pytest.mark.parametrize("port", [3128, 5432])
def test_an_own_port_is_free_when_nothing_is_reached(port: int) -> None:
    assert decoded(**HTTP, target_port=port).target_port == port
    closed = {"network": {"mode": "none", "outbound": {"allow_host": [f"db.example:{port}"]}}}
    assert decoded(**HTTP, target_port=port, permission_profile=closed).target_port == port


def test_whether_scripts_may_run_is_part_of_the_configuration() -> None:
    assert decoded(allow_scripts=True).allow_scripts is True
    assert decoded().allow_scripts is False
