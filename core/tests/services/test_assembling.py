"""From a request and a server entry to a RunConfig."""

from typing import Any

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.document import decode_document, encode_document
from thv_core.model.entry import PackageSpec, ServerEntry
from thv_core.model.profile import Network, Outbound, PermissionProfile
from thv_core.model.reach import outbound_rules
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig
from thv_core.model.serving import SERVING
from thv_core.services.assembling import (
    assemble,
    assemble_remote,
    builtin_profile,
    is_pinned,
    package_of,
    same_package,
    scheme_of,
)

ENTRY = ServerEntry(
    name="time",
    package=PackageSpec(scheme="uvx", name="mcp-server-time", version="1.2"),
    env_vars={"A": "entry", "B": "entry"},
    permissions=PermissionProfile(name="catalog", read=("/data",)),
)


def request(**more: object) -> RunRequest:
    return RunRequest(request_id="r", server="uvx://mcp-server-time", **more)


def test_the_user_wins_over_the_entry() -> None:
    config = assemble(request(name="clock", env_vars={"A": "user"}, proxy_port=8080), ENTRY)
    assert (config.name, config.image, config.port) == ("clock", "uvx://mcp-server-time@1.2", 8080)
    assert config.env_vars == {"A": "user", "B": "entry"}


def test_the_name_is_derived_and_the_profile_is_the_entrys_without_another() -> None:
    config = assemble(request(), ENTRY)
    assert (config.name, config.permission_profile.name) == ("time", "catalog")


def test_how_clients_meet_it_is_kept_and_what_is_usual_is_left_out() -> None:
    sent = decode_document(encode_document(request()), RunRequest, "the request")
    assert encode_document(assemble(sent, ENTRY)) == encode_document(assemble(request(), ENTRY))
    assert not [key for key in SERVING if f'"{key}"'.encode() in encode_document(assemble(sent, ENTRY))]
    config = assemble(request(session_ttl="5m", proxy_mode="sse", stateless=False), ENTRY)
    assert (config.session_ttl, config.proxy_mode) == ("5m", "sse")


def test_the_default_profile_grants_nothing() -> None:
    bare = ServerEntry(name="time", package=ENTRY.package)
    assert assemble(request(), bare).permission_profile == PermissionProfile(name="none")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="there is no permission profile 'team'"):
        assemble(request(permission_profile_name_or_path="team"), ENTRY)


# What flags add to the profile ---------------------------------------------------------------------------------------


def profile(**more: object) -> PermissionProfile:
    return PermissionProfile(name="team", **more)


def with_outbound(**more: object) -> PermissionProfile:
    return profile(network=Network(outbound=Outbound(**more)))


def test_flags_add_to_the_profile_that_is_given() -> None:
    given = profile(read=("/a",), write=("/b",), network=Network(outbound=Outbound(allow_host=("x.example",))))
    flags = {"allow_read": ("/c",), "allow_write": ("/d:/e",), "allow_network": ("y.example:5432",)}
    found = assemble(request(permission_profile=given, **flags), ENTRY).permission_profile
    assert (found.name, found.read, found.write) == ("team", ("/a", "/c"), ("/b", "/d:/e"))
    assert found.network.outbound.allow_host == ("x.example", "y.example:5432")
    assert given.read == ("/a",)


def test_flags_add_to_the_profile_of_the_entry_and_to_that_of_a_name() -> None:
    assert assemble(request(allow_read=("/c",)), ENTRY).permission_profile.read == ("/data", "/c")
    named = assemble(request(permission_profile_name_or_path="network", allow_network=("10.1.2.3",)), ENTRY)
    assert named.permission_profile.network.outbound == Outbound(insecure_allow_all=True, allow_host=("10.1.2.3",))


def test_without_flags_the_profile_stays_as_it_is() -> None:
    given = with_outbound(allow_port=(443,))
    assert assemble(request(permission_profile=given), ENTRY).permission_profile == given


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        (with_outbound(), ("y.example",)),
        (with_outbound(allow_host=("x.example",), allow_port=(443,)), ("x.example", "y.example")),
        (with_outbound(allow_port=(443,)), ("*", "y.example")),
        (with_outbound(allow_port=(443,), insecure_allow_all=True), ("y.example",)),
    ],
)
def test_a_flag_takes_nothing_away_that_the_profile_allows(given: PermissionProfile, hosts: tuple[str, ...]) -> None:
    found = assemble(request(permission_profile=given, allow_network=("y.example",)), ENTRY).permission_profile
    assert found.network.outbound.allow_host == hosts
    before = {(each.match, each.host, each.ports) for each in outbound_rules(given.network)}
    assert before <= {(each.match, each.host, each.ports) for each in outbound_rules(found.network)}


def test_a_network_that_is_closed_by_its_mode_cannot_be_opened_by_a_flag() -> None:
    closed = profile(network=Network(mode="none"))
    with pytest.raises(InvalidRequest, match=r"network mode none, and y\.example") as caught:
        assemble(request(permission_profile=closed, allow_network=("y.example",)), ENTRY)
    assert "--allow-network" in caught.value.hint
    assert assemble(request(permission_profile=closed, allow_read=("/c",)), ENTRY).permission_profile.read == ("/c",)


@pytest.mark.parametrize(
    ("given", "flag", "allowed"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_sockets_are_allowed_by_the_profile_or_by_the_flag(given: bool, flag: bool, allowed: bool) -> None:
    asked = request(permission_profile=profile(allow_socket=given), allow_socket=flag)
    assert assemble(asked, ENTRY).permission_profile.allow_socket is allowed


@pytest.mark.parametrize("flags", [{"allow_network": ("a b",)}, {"allow_read": ("here",)}, {"allow_write": ("~",)}])
def test_a_flag_that_cannot_be_meant_is_refused(flags: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvalidRequest):
        assemble(request(**flags), ENTRY)


NPM_ENTRY = ServerEntry(name="memory", package=PackageSpec(scheme="npx", name="server-memory", version="1.0.0"))


def test_scripts_are_refused_for_a_package_that_has_none() -> None:
    with pytest.raises(InvalidRequest, match=r"uvx://mcp-server-time@1\.2 has no install scripts") as caught:
        assemble(request(allow_scripts=True), ENTRY)
    assert caught.value.hint.startswith("Leave out --allow-scripts")


def test_transport_port_and_scripts_are_those_of_the_request() -> None:
    config = assemble(request(transport="streamable-http", target_port=8000, allow_scripts=True), NPM_ENTRY)
    assert (config.transport, config.target_port, config.allow_scripts) == ("streamable-http", 8000, True)
    assert assemble(request(transport="streamable-http"), ENTRY).target_port == 8080
    assert (assemble(request(), ENTRY).target_port, assemble(request(), ENTRY).allow_scripts) == (0, False)


def test_a_variable_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="A is set more than once"):
        assemble(request(secrets=("token,target=A",)), ENTRY)


def test_group_labels_and_host_are_those_of_the_request_or_the_usual_ones() -> None:
    config = assemble(request(group="search", labels={"team": "x"}, host="::1"), ENTRY)
    assert (config.group, config.container_labels, config.host) == ("search", {"team": "x"}, "::1")
    usual = assemble(request(), ENTRY)
    assert (usual.group, usual.container_labels, usual.host) == ("default", {}, "127.0.0.1")


@pytest.mark.parametrize("wrong", [{"group": "Search"}, {"labels": {"-": "x"}}, {"host": "0.0.0.0"}])
def test_a_group_a_label_or_a_host_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        assemble(request(**wrong), ENTRY)


def test_a_server_without_a_scheme_is_refused_with_the_spelling_that_works() -> None:
    with pytest.raises(InvalidRequest, match="uvx://mcp-server-time"):
        scheme_of("mcp-server-time")


def test_a_pinned_reference_gives_its_package_back() -> None:
    assert package_of(RunConfig(name="time", image="uvx://mcp-server-time@1.2")) == ENTRY.package
    scoped = package_of(RunConfig(name="x", image="npx://@scope/name@1.0.0", allow_scripts=True))
    assert scoped == PackageSpec(scheme="npx", name="@scope/name", version="1.0.0", scripts=True)


@pytest.mark.parametrize("image", ["uvx://mcp-server-time", "uvx://@1", "uvx://x@", "npx://@scope/name"])
def test_a_reference_that_is_not_pinned_is_refused(image: str) -> None:
    with pytest.raises(InvalidRequest, match="is not pinned"):
        package_of(RunConfig(name="x", image=image))


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("uvx://mcp-server-time@2026.10.19", True),
        ("uvx://name[extra]@1!2.0", True),
        ("npx://@scope/name@1.0.0-beta.1", True),
        ("go://example.com/server@v1.2.3", True),
        ("git://example.com/server@0a1b2c3d4e5f", True),
        ("uvx://mcp-server-time", False),
        ("uvx://mcp-server-time@", False),
        ("uvx://mcp-server-time@latest", False),
        ("npx://@scope/name", False),
        ("npx://@scope1/2name", False),
        ("npx://name@beta", False),
        ("mcp-server-time", False),
        ("", False),
    ],
)
def test_a_reference_is_pinned_when_it_names_a_version_and_not_a_tag(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("uvx://time", "uvx://time@1", True),
        ("uvx://time@1", "uvx://time@2", True),
        ("uvx://MCP_Server.time", "uvx://mcp-server-time@latest", True),
        ("npx://@scope/name", "npx://@scope/name@1.0.0", True),
        ("npx://a.b", "npx://a-b", False),
        ("uvx://time", "npx://time", False),
        ("uvx://time", "uvx://time-2", False),
        ("uvx://time", "uvx://time[extra]", False),
        ("npx://@a/name", "npx://@b/name", False),
    ],
)
def test_a_package_is_the_same_whatever_its_version(one: str, other: str, same: bool) -> None:
    assert same_package(one, other) is same_package(other, one) is same


def test_built_in_profiles_need_no_file() -> None:
    assert builtin_profile("network").network.outbound.insecure_allow_all
    with pytest.raises(InvalidRequest, match="there is no permission profile 'team'"):
        builtin_profile("team")


def test_a_server_somewhere_else_is_its_url_and_what_clients_meet() -> None:
    config = assemble_remote(RunRequest(request_id="r", server="https://api.example.com/mcp", session_ttl="5m"))
    assert (config.name, config.remote_url, config.image) == ("example", "https://api.example.com/mcp", "")
    assert (config.runtime, config.transport, config.session_ttl) == ("remote", "streamable-http", "5m")


def test_a_server_somewhere_else_is_not_spoken_to_over_pipes() -> None:
    with pytest.raises(InvalidRequest, match="transport stdio needs a server that runs here"):
        assemble_remote(RunRequest(request_id="r", server="https://a.example/mcp", transport="stdio"))


@pytest.mark.parametrize(
    ("asked", "flag"),
    [
        ({"allow_network": ("a.example",)}, "--allow-network"),
        ({"allow_read": ("/a",)}, "--allow-read"),
        ({"allow_write": ("/a",)}, "--allow-write"),
        ({"allow_socket": True}, "--allow-socket"),
        ({"allow_scripts": True}, "--allow-scripts"),
        ({"permission_profile": PermissionProfile(name="none")}, "--permission-profile"),
        ({"permission_profile_name_or_path": "network"}, "--permission-profile"),
        ({"volumes": ("/a:/b",)}, "--volume"),
        ({"cmd_args": ("-v",)}, "cmd_args"),
        ({"env_vars": {"A": "1"}}, "env_vars"),
    ],
)
def test_nothing_that_is_asked_of_a_server_somewhere_else_is_ignored(asked: dict[str, Any], flag: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{flag} means nothing to a server that runs somewhere else"):
        assemble_remote(RunRequest(request_id="r", server="https://a.example/mcp", **asked))
