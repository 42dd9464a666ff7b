from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.document import decode_document, encode_document
from thv_core.model.entry import PackageRoot, PackageSpec
from thv_core.model.plan import Deployment, DeploymentPlan, Environment, deployment_plan
from thv_core.model.profile import Grant, Network, Outbound, PermissionProfile
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
    assert plan(TOKEN="s3cret").environment.values == {"PATH": "/bin", "TZ": "UTC", "TOKEN": "s3cret"}


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
