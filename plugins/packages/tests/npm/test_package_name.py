"""A reference names an npm package by npm's rules, or is refused with the rule that it breaks."""

from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.spi import PackageSpec
from thv_packages.npm.package_name import NpmPackage, exact, parse


@pytest.mark.parametrize(
    ("reference", "package"),
    [
        ("npx://server", NpmPackage("server", "latest")),
        ("npx://server@1.2.3", NpmPackage("server", "1.2.3")),
        ("npx://server@next", NpmPackage("server", "next")),
        ("npx://@scope/server", NpmPackage("@scope/server", "latest")),
        ("npx://@scope/server@0.1.0-beta.1+x", NpmPackage("@scope/server", "0.1.0-beta.1+x")),
        ("npx://@a.b/c_d~e.f@2026.8.31", NpmPackage("@a.b/c_d~e.f", "2026.8.31")),
    ],
)
def test_a_name_and_a_version_are_understood(reference: str, package: NpmPackage):
    assert parse(reference) == package
    assert parse(package.reference) == package


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("", "does not name"),
        ("npx://", "does not name"),
        ("npx://@1.0.0", "does not name"),
        ("npx://@scope", "does not name"),
        ("uvx://server", "does not name"),
        ("npx://Server", "capital letters"),
        ("npx://.server", "begins with a dot"),
        ("npx://_server", "begins with a dot or an underscore"),
        ("npx://@scope/_server", "begins with a dot or an underscore"),
        ("npx://node_modules", "reserved"),
        ("npx://two words", "only a-z"),
        ("npx://a/b", "only a-z"),
        ("npx://@scope/../server", "only a-z"),
        ("npx://@/server", "only a-z"),
        ("npx://server\n", "only a-z"),
        ("npx://git+ssh://git@host/x", "only a-z"),
        ("npx://" + "a" * 215, "longer than 214"),
        ("npx://" + "a" * 500, "does not name"),
        ("npx://server@", "neither an exact version nor a tag"),
        ("npx://server@^1.0.0", "neither an exact version nor a tag"),
        ("npx://server@1", "neither an exact version nor a tag"),
        ("npx://server@1.x", "neither an exact version nor a tag"),
        ("npx://server@x", "neither an exact version nor a tag"),
        ("npx://server@v1.0.0", "neither an exact version nor a tag"),
        ("npx://server@01.0.0", "neither an exact version nor a tag"),
        ("npx://server@1.0.0\n", "neither an exact version nor a tag"),
        ("npx://server@npm:other@1.0.0", "neither an exact version nor a tag"),
        ("npx://server@file:/etc", "neither an exact version nor a tag"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_it(reference: str, why: str):
    with pytest.raises(InvalidRequest) as caught:
        parse(reference)
    assert why in caught.value.message
    assert caught.value.hint


def test_only_an_exact_version_can_be_prepared():
    assert exact(PackageSpec(scheme="npx", name="@a/b", version="1.0.0")) == NpmPackage("@a/b", "1.0.0")
    for version in ("latest", ""):
        with pytest.raises(InvalidRequest):
            exact(PackageSpec(scheme="npx", name="a", version=version))
