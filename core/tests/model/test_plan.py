from __future__ import annotations

import msgspec
import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.document import decode_document, encode_document
from thv_core.model.entry import PackageRoot, PackageSpec
from thv_core.model.plan import (
    CERTIFICATES,
    Deployment,
    DeploymentPlan,
    Environment,
    ResourceLimits,
    deployment_plan,
    outward_environment,
    resource_limits,
)
from thv_core.model.profile import Grant, Limits, Network, Outbound, PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.model.run_config import RunConfig

ROOT = PackageRoot(path="/cache/root", command=("/cache/root/bin/time",), environment={"PATH": "/bin", "TZ": "root"})
PROFILE = PermissionProfile(
    read=("/etc/hosts",), write=("/data:/srv",), network=Network(outbound=Outbound(allow_host=("x.example",)))
)
CONFIG = RunConfig(
    name="time",
    image="uvx://mcp-server-time@1.0",
    cmd_args=("--verbose",),
    env_vars={"TZ": "UTC"},
    volumes=("/home/ada:/ada:ro",),
    secrets=("github,target=TOKEN",),
    permission_profile=PROFILE,
)


def plan(config: RunConfig = CONFIG, **secrets: str) -> DeploymentPlan:
    return deployment_plan(config, 3, ROOT, secrets)


def test_a_plan_is_everything_that_a_runtime_needs() -> None:
    found = plan(TOKEN="s3cret")
    assert found.deployment.label == "time.3"
    assert found.command == ("/cache/root/bin/time", "--verbose")
    assert found.grants == (
        Grant(source="/etc/hosts", target="/etc/hosts", writable=False),
        Grant(source="/data", target="/srv", writable=True),
        Grant(source="/home/ada", target="/ada", writable=False),
    )
    assert found.network.outbound.allow_host == ("x.example",)
    assert found.root == ROOT


def test_the_users_variables_prevail_over_the_packages_and_secrets_over_both() -> None:
    closed = msgspec.structs.replace(CONFIG, permission_profile=PermissionProfile())
    assert plan(closed, TOKEN="s3cret").environment.values == {"PATH": "/bin", "TZ": "UTC", "TOKEN": "s3cret"}


def test_a_server_that_may_reach_out_is_told_of_its_proxy_in_both_cases() -> None:
    values = plan().environment.values
    proxy = "http://127.0.0.1:3128"
    assert [values[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")] == [proxy] * 4
    assert values["NO_PROXY"] == values["no_proxy"] == "localhost,127.0.0.1,::1"
    assert values["NODE_USE_ENV_PROXY"] == "1"


def test_the_users_own_proxy_variable_prevails() -> None:
    config = msgspec.structs.replace(CONFIG, env_vars={"HTTP_PROXY": "http://mine"})
    assert plan(config).environment.values["HTTP_PROXY"] == "http://mine"
    assert plan(config).environment.values["HTTPS_PROXY"] == "http://127.0.0.1:3128"


@pytest.mark.parametrize("network", [Network(), Network(mode="none", outbound=Outbound(allow_host=("x.example",)))])
def test_a_server_that_reaches_nothing_is_told_of_nothing(network: Network) -> None:
    assert outward_environment(network, "") == {}


def test_certificates_are_shown_at_one_place_whatever_a_server_reaches() -> None:
    variables = outward_environment(Network(), "/etc/company/ca.pem")
    assert set(variables) == {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
    assert set(variables.values()) == {CERTIFICATES}
    found = deployment_plan(CONFIG, 3, ROOT, {}, "/etc/company/ca.pem")
    assert found.certificates == "/etc/company/ca.pem"
    assert found.environment.values["SSL_CERT_FILE"] == CERTIFICATES
    assert plan().certificates == ""


def test_an_http_server_is_told_where_to_listen_unless_the_user_says_otherwise() -> None:
    config = msgspec.structs.replace(CONFIG, transport="streamable-http", target_port=8000, env_vars={"PORT": "9"})
    found = plan(config)
    assert found.port == 8000
    told = {name: found.environment.values[name] for name in ("MCP_TRANSPORT", "MCP_PORT", "FASTMCP_PORT", "MCP_HOST")}
    assert told == {
        "MCP_TRANSPORT": "streamable-http",
        "MCP_PORT": "8000",
        "FASTMCP_PORT": "8000",
        "MCP_HOST": "127.0.0.1",
    }
    assert found.environment.values["PORT"] == "9"
    assert plan().port == 0
    assert "MCP_PORT" not in plan().environment.values


def test_limits_and_memory_folders_are_numbers_in_a_plan() -> None:
    profile = PermissionProfile(
        limits=Limits(memory="1GiB", cpu=1.5, pids=64, files=128),
        require_limits=True,
        tmpfs={"/scratch": "64MiB", "/run/x": "1M"},
        allow_socket=True,
    )
    found = plan(msgspec.structs.replace(CONFIG, permission_profile=profile))
    assert found.limits == ResourceLimits(memory=1 << 30, cpu=1.5, pids=64, files=128)
    assert found.tmpfs == {"/scratch": 64 << 20, "/run/x": 1_000_000}
    assert (found.require_limits, found.allow_socket) == (True, True)


def test_the_usual_limits_are_those_of_a_profile_that_says_nothing() -> None:
    assert resource_limits(PermissionProfile()) == ResourceLimits()
    assert plan().limits == ResourceLimits(memory=512 << 20, cpu=0.0, pids=256, files=1024)


def test_the_same_input_is_the_same_plan_and_changes_nothing() -> None:
    secrets = {"TOKEN": "s3cret"}
    before = encode_document(CONFIG)
    assert deployment_plan(CONFIG, 3, ROOT, secrets) == deployment_plan(CONFIG, 3, ROOT, secrets)
    assert (secrets, encode_document(CONFIG)) == ({"TOKEN": "s3cret"}, before)


@pytest.mark.parametrize("shown", [repr, str, "{!r}".format])
def test_no_representation_of_a_plan_shows_a_value(shown: object) -> None:
    text = shown(plan(TOKEN="s3cret"))
    assert "TOKEN" in text
    assert "s3cret" not in text
    assert "UTC" not in text


def test_no_representation_of_a_request_shows_a_value() -> None:
    request = RunRequest(request_id="r", server="time", shell_values={"T": "s3cret"}, env_vars={"A": "pr1vate"})
    assert not {"s3cret", "pr1vate"} & set(repr(request).replace("'", " ").split())
    assert decode_document(encode_document(request), RunRequest, "").shell_values == {"T": "s3cret"}


def test_an_environment_shows_its_names_in_order() -> None:
    assert repr(Environment(values={"B": "1", "A": "2"})) == "Environment(A, B)"


@pytest.mark.parametrize("volumes", [("/x:/srv",), ("/x:/srv/",), ("/a:/z", "/b:/z")])
def test_a_target_is_granted_once(volumes: tuple[str, ...]) -> None:
    config = RunConfig(name="t", image="i", volumes=volumes, permission_profile=PROFILE)
    with pytest.raises(InvalidRequest, match="two grants name"):
        plan(config)


def test_a_label_names_one_life() -> None:
    assert Deployment(workload="a.b", generation=2).label == "a.b.2"


def test_a_package_is_pinned_in_its_reference() -> None:
    assert PackageSpec(scheme="uvx", name="x", version="1").reference == "uvx://x@1"
