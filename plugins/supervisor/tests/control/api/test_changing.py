"""Creating and editing workloads, as ToolHive's desktop app does it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from litestar.types import ASGIApp

from thv_core.model.group import Group
from thv_core.model.run_config import MiddlewareConfig, RunConfig
from thv_core.model.serving import SERVING
from thv_core.model.status import Status
from thv_core.spi.runtimes import Runtime
from thv_supervisor.control import admission
from thv_supervisor.control.api.requests import CreateRequest
from thv_supervisor.control.api.translating import kept
from thv_supervisor.control.reconciler import Reconciler

ALL = "/api/v1beta/workloads"
ONE = f"{ALL}/echo"


def body(**given: Any) -> bytes:
    return json.dumps({"image": "fake://echo"} | given).encode()


def config(control: Reconciler) -> RunConfig:
    return control.ground.store.get("echo").config


def test_a_workload_is_created_as_it_was_asked_for(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        control.ground.store.add_group(Group(name="team"))
        rig.secrets.set("s", "v")
        asked_for = body(
            name="echo",
            group="team",
            cmd_arguments=["-v"],
            env_vars={"A": "1"},
            secrets=[{"name": "s", "target": "S"}],
            volumes=["/usr:/data:ro"],
            proxy_port=19_333,
            permission_profile={"network": {"outbound": {"allow_host": ["a.example"]}}},
            network_isolation=True,
        )
        reply = await asked(app, "POST", ALL, asked_for)
        assert (reply.status, reply.json()) == (201, {"name": "echo", "port": 19_333})
        made = config(control)
        assert (made.group, made.cmd_args, made.env_vars) == ("team", ("-v",), {"A": "1"})
        assert (made.secrets, made.volumes) == (("s,target=S",), ("/usr:/data:ro",))
        assert made.permission_profile.network.outbound.allow_host == ("a.example",)
        await rig.becomes(control, "echo", Status.RUNNING)

    play(story)


EVERY_FIELD = {
    *("name", "image", "url", "registry", "server", "host", "transport", "proxy_mode", "proxy_port", "target_port"),
    *("cmd_arguments", "env_vars", "secrets", "volumes", "permission_profile", "network_isolation"),
    *("allow_docker_gateway", "trust_proxy_headers", "authz_config", "oidc", "tools", "tools_override", "group"),
    *("oauth_config", "headers", "header_forward", "runtime_config"),
}
"""The fields of ToolHive's createRequest (reference: local.md §7.5)."""


OURS = set(SERVING) - {"proxy_mode", "trust_proxy_headers", "header_forward"}


def test_the_request_has_the_fields_of_toolhive_and_those_that_say_how_clients_meet_it() -> None:
    assert {each.encode_name for each in msgspec.structs.fields(CreateRequest)} == EVERY_FIELD | OURS


NOTHING: dict[str, Any] = {
    "url": "",
    "registry": "",
    "server": "",
    "allow_docker_gateway": False,
    "trust_proxy_headers": None,
    "authz_config": "",
    "oidc": {"issuer": "", "scopes": [], "client": {}},
    "tools": [],
    "tools_override": {},
    "oauth_config": None,
    "headers": [],
    "header_forward": {},
    "runtime_config": {"build_with": None},
    "proxy_mode": "",
    "permission_profile": None,
    "secrets": None,
    "volumes": None,
    "env_vars": None,
    "cmd_arguments": None,
    "network_isolation": None,
}


def test_fields_that_say_nothing_are_accepted(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        assert (await asked(app, "POST", ALL, body(**NOTHING))).status == 201

    play(story)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://mcp.example"),
        ("registry", "default"),
        ("server", "time"),
        ("allow_docker_gateway", True),
        ("session_ttl", "soon"),
        ("authz_config", "/policy.json"),
        ("oidc", {"issuer": "https://id.example"}),
        ("tools", ["a"]),
        ("tools_override", {"a": {"name": "b"}}),
        ("oauth_config", {"use_pkce": True}),
        ("headers", [{"name": "x"}]),
        ("header_forward", {"add_plaintext_headers": {"a": "b"}}),
        ("runtime_config", {"builder_image": "x"}),
        ("proxy_mode", "websocket"),
        ("network_isolation", False),
        ("image", ""),
        ("secrets", [{"name": "env:S", "target": "S"}]),
        ("volumes", ["relative:/x"]),
        ("transport", "carrier-pigeon"),
        ("host", "0.0.0.0"),
        ("group", "nobody"),
        ("proxy_port", 70_000),
        ("permission_profile", {"privilege": True}),
    ],
)
def test_a_field_that_asks_for_what_is_not_offered_is_refused_by_its_name(
    play: Any, asked: Any, rig: Any, field: str, value: object
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", ALL, body(**{field: value}))
        assert reply.status == 400, reply.body
        words = {"volumes": "relative", "secrets": "env:S", "permission_profile": "privilege"}
        assert words.get(field, field) in reply.json()["message"]
        assert control.views() == []

    play(story)


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"image": "fake://nowhere"}, 400, "invalid-request"),
        ({"image": "echo"}, 400, "invalid-request"),
        ({"name": "a/b"}, 400, "invalid-request"),
    ],
)
def test_what_cannot_be_made_is_the_callers_mistake(
    play: Any, asked: Any, rig: Any, given: dict[str, Any], status: int, code: str
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        reply = await asked(app, "POST", ALL, body(**given))
        assert (reply.status, reply.json()["code"]) == (status, code)

    play(story)


def test_a_name_that_is_taken_conflicts(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        reply = await asked(app, "POST", ALL, body(name="echo"))
        assert (reply.status, reply.json()["code"]) == (409, "already-exists")

    play(story)


# Edits ---------------------------------------------------------------------------------------------------------------


def test_an_edit_is_answered_when_it_took_effect_and_keeps_what_it_has_no_field_for(
    play: Any, asked: Any, rig: Any
) -> None:
    rig.hooks.recipes["audit"] = object()

    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control, rig.request(labels={"tier": "one"}))
        before = config(control)
        audited = (MiddlewareConfig(type="audit"),)
        workload = control.ground.store.get("echo")
        control.ground.store.replace(
            msgspec.structs.replace(
                workload, config=msgspec.structs.replace(before, additional_middleware_configs=audited)
            )
        )
        reply = await asked(app, "POST", f"{ONE}/edit", body(env_vars={"B": "2"}))
        assert (reply.status, reply.json()) == (200, {"name": "echo", "port": before.port})
        after = config(control)
        assert (after.env_vars, after.container_labels) == ({"B": "2"}, {"tier": "one"})
        assert after.additional_middleware_configs == audited
        assert (after.runtime, after.group, after.port) == (before.runtime, before.group, before.port)
        assert len(rig.runtime.lives) == 2

    play(story)


def test_an_edit_leaves_a_secret_that_came_from_a_shell_where_it_is_and_brings_no_other(
    play: Any, asked: Any, rig: Any
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control, rig.request(secrets=("env:T,target=TOKEN",), shell_values={"env:T": "v"}))
        told = (await asked(app, "GET", ONE)).json()
        reply = await asked(app, "POST", f"{ONE}/edit", json.dumps(told | {"env_vars": {"B": "2"}}).encode())
        assert reply.status == 200, reply.body
        assert rig.runtime.plans[-1].environment.values | {"TOKEN": "v", "B": "2"} == (
            rig.runtime.plans[-1].environment.values
        )
        other = told | {"secrets": [{"name": "env:T", "target": "OTHER"}]}
        assert (await asked(app, "POST", f"{ONE}/edit", json.dumps(other).encode())).status == 400

    play(story)


@pytest.mark.parametrize(("image", "allowed"), [("fake://echo@2.0.0", True), ("fake://other@1.1.0", False)])
def test_install_scripts_that_were_allowed_to_one_package_are_allowed_to_no_other(image: str, allowed: bool) -> None:
    current = RunConfig(name="echo", image="fake://echo@1.1.0", allow_scripts=True)
    edited = RunConfig(name="echo", image=image)
    assert kept(edited, current, CreateRequest(image=image)).allow_scripts is allowed


def test_an_edit_keeps_how_clients_meet_it_where_toolhive_has_no_field_for_that() -> None:
    current = RunConfig(
        name="echo",
        image="fake://echo@1",
        tls_certificate="/c",
        tls_key="/k",
        session_ttl="5m",
        trust_proxy_headers=True,
    )
    edited = RunConfig(name="echo", image="fake://echo@1")
    silent = kept(edited, current, CreateRequest(image="fake://echo@1"))
    assert (silent.tls_certificate, silent.tls_key, silent.session_ttl) == ("/c", "/k", "5m")
    assert silent.trust_proxy_headers is False
    asked_for = CreateRequest(image="fake://echo@1", session_ttl="", tls_certificate="", tls_key="")
    said = kept(edited, current, asked_for)
    assert (said.tls_certificate, said.tls_key, said.session_ttl) == ("", "", "")


def test_a_workload_is_created_as_clients_shall_meet_it_and_told_so(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        keys: dict[str, Any] = {
            "proxy_mode": "sse",
            "allowed_origins": ["https://a.example"],
            "session_ttl": "5m",
            "stdio_sessions": "per-client",
            "trust_proxy_headers": True,
        }
        assert (await asked(app, "POST", ALL, body(**keys))).status == 201
        await rig.becomes(control, "echo", Status.RUNNING)
        told = (await asked(app, "GET", ONE)).json()
        assert {key: told[key] for key in keys} == keys
        view = (await asked(app, "GET", f"{ONE}/status")).json()
        assert (view["proxy_mode"], view["url"].partition("/sse")[1:]) == ("sse", ("/sse", "#echo"))
        assert (await asked(app, "POST", f"{ONE}/edit", json.dumps(told).encode())).status == 200
        assert msgspec.structs.asdict(config(control))["stdio_sessions"] == "per-client"

    play(story)


def test_an_edit_that_changes_nothing_starts_nothing(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        told = (await asked(app, "GET", ONE)).json()
        reply = await asked(app, "POST", f"{ONE}/edit", json.dumps(told).encode())
        assert reply.status == 200, reply.body
        assert len(rig.runtime.lives) == 1

    play(story)


def test_an_edit_that_does_not_become_ready_is_rolled_back_with_its_reason(play: Any, asked: Any, rig: Any) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        before = config(control)
        ready = rig.gateway.answer
        rig.gateway.answer = rig.gateway.failing("it speaks no MCP")
        reply = await asked(app, "POST", f"{ONE}/edit", body(env_vars={"B": "2"}))
        assert (reply.status, reply.json()["code"]) == (422, "rolled-back")
        assert "it speaks no MCP" in reply.body.decode()
        rig.gateway.answer = ready
        assert config(control) == before

    play(story)


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        (f"{ALL}/nobody/edit", {}, 404),
        (f"{ONE}/edit", {"image": "fake://nowhere"}, 400),
        (f"{ONE}/edit", {"group": "nobody"}, 400),
        (f"{ONE}/edit", {"tools": ["a"]}, 400),
        (f"{ONE}/edit", {"name": "other"}, 400),
    ],
)
def test_an_edit_that_cannot_be_meant_changes_nothing(
    play: Any, asked: Any, rig: Any, path: str, given: dict[str, Any], status: int
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        await rig.run(control)
        before = config(control)
        reply = await asked(app, "POST", path, body(**given))
        assert reply.status == status, reply.body
        assert (config(control), len(rig.runtime.lives)) == (before, 1)

    play(story)


@pytest.fixture
def far(rig: Any) -> Any:
    """A runtime of what runs somewhere else, in memory."""
    rig.drivers.handed[Runtime, "remote"] = rig.runtime
    return rig


URL = "https://mcp.example/mcp?team=1"


def test_a_server_somewhere_else_is_created_by_its_url_and_edited_as_it_is_told(
    play: Any, asked: Any, far: Any
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        headers = {"add_plaintext_headers": {"X-Team": "search"}}
        given = {"name": "echo", "url": URL, "transport": "sse", "network_isolation": False, "header_forward": headers}
        assert (await asked(app, "POST", ALL, json.dumps(given).encode())).status == 201
        await far.becomes(control, "echo", Status.RUNNING)
        assert (config(control).remote_url, config(control).transport) == (URL, "sse")
        told = (await asked(app, "GET", ONE)).json()
        assert (told["url"], told["image"], told["header_forward"]) == (URL, "", headers)
        again = await asked(app, "POST", f"{ONE}/edit", json.dumps(told).encode())
        assert (again.status, len(far.runtime.lives)) == (200, 1)
        # What an edit leaves out is not asked of the server again.
        silent = {"url": URL, "header_forward": headers}
        assert (await asked(app, "POST", f"{ONE}/edit", json.dumps(silent).encode())).status == 200
        assert (config(control).transport, len(far.runtime.lives)) == ("sse", 1)

    play(story)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"image": "fake://echo"}, "there is an image and a url"),
        ({"url": "mcp.example"}, "is not the URL of an MCP endpoint"),
        ({"url": "https://user:secret@mcp.example/mcp"}, "must not hold a password"),
        ({"volumes": ["/usr:/data:ro"]}, "--volume means nothing to a server that runs somewhere else"),
        ({"permission_profile": {"read": ["/usr"]}}, "--permission-profile means nothing to a server"),
        ({"transport": "stdio"}, "transport stdio needs a server that runs here"),
    ],
)
def test_what_cannot_be_meant_of_a_server_somewhere_else_is_refused(
    play: Any, asked: Any, far: Any, more: dict[str, Any], told: str
) -> None:
    async def story(app: ASGIApp, control: Reconciler) -> None:
        given = {"name": "echo", "url": URL, "transport": "streamable-http"} | more
        reply = await asked(app, "POST", ALL, json.dumps(given).encode())
        assert reply.status == 400
        assert told in reply.body.decode()
        assert "user:secret" not in reply.body.decode()
        assert not control.ground.store.names()

    play(story)


def test_how_a_server_somewhere_else_speaks_is_found_out(
    play: Any, asked: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed: list[tuple[str, dict[str, str]]] = []

    def spoken(config: RunConfig, values: dict[str, str]) -> str:
        probed.append((config.remote_url, values))
        return "sse"

    monkeypatch.setattr(admission, "spoken", spoken)
    far.secrets.set("token", "v4lue")

    async def story(app: ASGIApp, control: Reconciler) -> None:
        headers = {"add_headers_from_secret": {"Authorization": "token"}}
        given = {"name": "echo", "url": URL, "header_forward": headers}
        assert (await asked(app, "POST", ALL, json.dumps(given).encode())).status == 201
        assert config(control).transport == "sse"
        assert probed == [(URL, {"token": "v4lue"})]

    play(story)
