"""References are read strictly, and written back in one normal form."""

from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest
from thv_core.spi import PackageSpec
from thv_packages.pypi.requirement import Requirement, exact, parse


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("uvx://mcp-server-time", Requirement("mcp-server-time")),
        ("uvx://Mcp_Server.Time@2026.10.19", Requirement("mcp-server-time", version="2026.10.19")),
        ("uvx://a[x]@1!2.0+local.1", Requirement("a", ("x",), "1!2.0+local.1")),
        ("uvx://a[Z_z,b,b]", Requirement("a", ("b", "z-z"))),
        ("uvx://a@v1.0RC1", Requirement("a", version="1.0rc1")),
        ("uvx://a@latest", Requirement("a")),
    ],
)
def test_a_reference_is_normalised(reference: str, expected: Requirement) -> None:
    assert parse(reference) == expected
    assert parse(expected.reference) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "uvx://",
        "uvx://@1",
        "uvx://-a",
        "uvx://a-",
        "uvx://a b",
        "uvx://a;python_version>'3'",
        "uvx://../a",
        "uvx://a/b",
        "uvx://a @ https://example.com/a.whl",
        "uvx://git+https://example.com/a",
        "uvx://a[",
        "uvx://a[]",
        "uvx://a[x,]",
        "uvx://a@",
        "uvx://a@1.*",
        "uvx://a@>=1",
        "uvx://a@1\n--index-url=http://example.com",
        "uvx://a\n",
        "npx://a",
        "mcp-server-time",
        "uvx://" + "a" * 300,
    ],
)
def test_anything_else_is_refused(reference: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(reference)
    assert caught.value.hint.startswith("Write uvx://PACKAGE")


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("uvx://", "Write uvx://PACKAGE, such as uvx://mcp-server-time."),
        ("uvx://@1", "Write uvx://PACKAGE, such as uvx://mcp-server-time."),
        ("uvx://a b", "Write uvx://PACKAGE, such as uvx://mcp-server-time."),
        ("uvx://a[x", "Write uvx://PACKAGE[EXTRA], or uvx://PACKAGE[EXTRA]@VERSION."),
        ("uvx://a@>=1", "Write uvx://PACKAGE@VERSION, such as uvx://mcp-server-time@2026.10.19."),
    ],
)
def test_the_hint_shows_how_the_part_that_is_wrong_is_written(reference: str, hint: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(reference)
    assert caught.value.hint == hint


@pytest.mark.parametrize("version", ["", "latest", "nonsense"])
def test_a_package_to_build_needs_an_exact_version(version: str) -> None:
    with pytest.raises(InvalidRequest):
        exact(PackageSpec(scheme="uvx", name="a", version=version))


def test_a_package_of_another_scheme_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        exact(PackageSpec(scheme="npx", name="a", version="1"))
