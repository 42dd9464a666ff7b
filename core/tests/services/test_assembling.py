"""From a request and a server entry to a RunConfig."""

import pytest

from thv_core.errors import InvalidRequest
from thv_core.model.entry import PackageSpec, ServerEntry
from thv_core.model.profile import PermissionProfile
from thv_core.model.request import RunRequest
from thv_core.services.assembling import assemble, package_of, scheme_of

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


def test_the_default_profile_grants_nothing() -> None:
    bare = ServerEntry(name="time", package=ENTRY.package)
    assert assemble(request(), bare).permission_profile == PermissionProfile(name="none")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="there is no permission profile 'team'"):
        assemble(request(permission_profile_name_or_path="team"), ENTRY)


def test_a_variable_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="A is set more than once"):
        assemble(request(secrets=("token,target=A",)), ENTRY)


def test_a_server_without_a_scheme_is_refused_with_the_spelling_that_works() -> None:
    with pytest.raises(InvalidRequest, match="uvx://mcp-server-time"):
        scheme_of("mcp-server-time")


def test_a_pinned_reference_gives_its_package_back() -> None:
    assert package_of("uvx://mcp-server-time@1.2") == ENTRY.package


@pytest.mark.parametrize("image", ["uvx://mcp-server-time", "uvx://@1", "uvx://x@"])
def test_a_reference_that_is_not_pinned_is_refused(image: str) -> None:
    with pytest.raises(InvalidRequest, match="is not pinned"):
        package_of(image)
