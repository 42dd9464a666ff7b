"""Distributions that are wrong, each caught by the tests that it names; they are made beside this file."""

from pathlib import Path

import pytest

from thv_testkit.distributions import DistributionContract

HERE = Path(__file__).parent
BOUNDED = "thv-core>=0.1,<0.2"


class Made(DistributionContract):
    @pytest.fixture(autouse=True)
    def importable(self, monkeypatch):
        monkeypatch.syspath_prepend(str(HERE))
        monkeypatch.setenv("PYTHONPATH", str(HERE))


def made(name, *, requires=BOUNDED, entry="", source="plugin = object()\n", typed=True):
    package = HERE / name
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(source)
    if typed:
        (package / "py.typed").touch()
    metadata = HERE / f"{name}-1.0.dist-info"
    metadata.mkdir(exist_ok=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        "Version: 1.0",
        *([f"Requires-Dist: {requires}"] * bool(requires)),
    ]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")
    offer = entry or f"[thv.secrets]\n{name} = {name}:plugin\n"
    (metadata / "entry_points.txt").write_text(offer)
    return name


def wrong(distribution, *tests):
    return type("TestWrong", (Made,), {"distribution": distribution, "caught_by": tests})


(HERE / "docker").mkdir(exist_ok=True)
(HERE / "docker" / "__init__.py").write_text("")

TestRight = wrong(made("wrong_in_nothing"))
TestOffersNothing = wrong(
    made("offers_nothing", entry="[console_scripts]\nx = os:getcwd\n"), "test_it_offers_something_to_thv"
)
TestDoesNotLoad = wrong(
    made("does_not_load", source="import no_such_module\n"),
    "test_every_entry_point_loads",
    "test_loading_it_imports_no_heavy_sdk",
)
TestLacksTheObject = wrong(made("lacks_the_object", source=""), "test_every_entry_point_loads")
TestNoRequirement = wrong(made("no_requirement", requires=""), "test_it_bounds_thv_core_from_below_and_above")
TestNoUpperBound = wrong(made("no_upper", requires="thv-core>=0.1"), "test_it_bounds_thv_core_from_below_and_above")
TestNoLowerBound = wrong(made("no_lower", requires="thv-core<0.2"), "test_it_bounds_thv_core_from_below_and_above")
TestUntyped = wrong(made("untyped", typed=False), "test_its_packages_are_typed")
TestHeavy = wrong(made("heavy", source="import docker\nplugin = docker\n"), "test_loading_it_imports_no_heavy_sdk")
