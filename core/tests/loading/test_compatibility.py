from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from thv_core.loading.compatibility import judged

CLAUSES = [
    *("<0.2,>=0.1", ">=0.1,<0.2", "(>=0.1,<0.2)", ">=0.1", "<0.1", "<=0.1", "==0.1", "==0.1.0", "!=0.1.0", ">0.1"),
    *(">=0.1.1", "<0.1.1", "~=0.1", "~=0.2.0", "==0.1.*", "===0.1.0", ">=0.1rc1", "<0.2.dev0", ">=1!0", "<1"),
]


@pytest.mark.parametrize("version", ["0.1.0", "0.1", "0.1.5", "0.2.0", "1.0", "0.2.0.dev1", "0.1.0rc1"])
@pytest.mark.parametrize("clause", CLAUSES)
def test_the_verdict_is_that_of_the_packaging_standard(clause: str, version: str) -> None:
    expected = SpecifierSet(clause.strip("()")).contains(version, prereleases=True)
    assert judged([f"thv-core{clause}"], version)[0] is expected


@pytest.mark.parametrize("name", ["thv-core", "thv_core", "THV.Core"])
def test_the_core_is_found_by_any_spelling_of_its_name(name: str) -> None:
    assert not judged([f"{name}>=9"], "0.1.0")[0]


def test_a_refusal_names_the_requirement_and_the_core() -> None:
    assert judged(["thv-core>=9"], "0.1.0") == (False, "it requires thv-core>=9, and this is thv-core 0.1.0")


def test_a_requirement_with_an_upper_bound_needs_no_note() -> None:
    assert judged(["httpx", "thv-core<0.2,>=0.1"], "0.1.0") == (True, "")


def test_a_missing_upper_bound_is_noted() -> None:
    assert judged(["thv-core>=0.1"], "0.1.0") == (True, "its requirement on thv-core has no upper bound")


@pytest.mark.parametrize("requires", [[], ["thv-core-extras>=9"], ["thv-core>=9; extra == 'old'"]])
def test_a_missing_requirement_is_noted_and_accepted(requires: list[str]) -> None:
    assert judged(requires, "0.1.0") == (True, "it states no requirement on thv-core")


def test_a_bare_requirement_accepts_every_core() -> None:
    assert judged(["thv-core"], "0.1.0")[0]


def test_a_requirement_whose_marker_applies_counts() -> None:
    assert not judged(["thv-core>=9; python_version >= '3'"], "0.1.0")[0]


def test_of_several_requirements_each_must_be_met() -> None:
    assert not judged(["thv-core>=0.1", "thv-core<0.1"], "0.1.0")[0]


def test_a_requirement_that_does_not_parse_is_not_met() -> None:
    assert not judged(["thv-core >>> 1"], "0.1.0")[0]
