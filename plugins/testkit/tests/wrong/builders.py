"""Builders that are wrong, each caught by the tests that it names."""

import threading
import time

import pytest
from msgspec.structs import replace

from thv_core.errors import PreparationFailed, Unavailable
from thv_core.spi import PackageSpec
from thv_testkit.builders import BuilderContract
from thv_testkit.fakes import FakeBuilder


class RelativeCommand(FakeBuilder):
    def build(self, package, report):
        root = super().build(package, report)
        return replace(root, command=("python3", *root.command[1:]))


class RunsSomethingElse(FakeBuilder):
    def build(self, package, report):
        return replace(super().build(package, report), command=("/bin/true",))


class SaysNothing(FakeBuilder):
    def build(self, package, report):
        return super().build(package, lambda _: None)


class NewRootEachTime(FakeBuilder):
    def build(self, package, report):
        return replace(super().build(package, report), size=time.monotonic_ns())


class AlwaysNeedsTheIndex(FakeBuilder):
    def build(self, package, report):
        if not self._reachable:
            raise Unavailable("no answer")
        return super().build(package, report)


class SaysFailedForEverything(FakeBuilder):
    def build(self, package, report):
        try:
            return super().build(package, report)
        except Exception:
            raise PreparationFailed("it did not work") from None


class FailsWithoutEvidence(FakeBuilder):
    def build(self, package, report):
        try:
            return super().build(package, report)
        except PreparationFailed as error:
            raise PreparationFailed(error.message) from None


class TakesAnyVersion(FakeBuilder):
    def build(self, package, report):
        return super().build(replace(package, version="1.0.0"), report)


class CannotBeShared(FakeBuilder):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.busy = threading.Lock()

    def build(self, package, report):
        if not self.busy.acquire(blocking=False):
            raise PreparationFailed("another build is under way")
        try:
            time.sleep(0.05)
            return super().build(package, report)
        finally:
            self.busy.release()


def wrong(driver, *tests, **members):
    given = {
        "builder": pytest.fixture(lambda self: driver()),
        "unreachable": pytest.fixture(lambda self: driver(reachable=False)),
        "package": pytest.fixture(lambda self: PackageSpec(scheme="fake", name="echo", version="1.0.0")),
        "unrunnable": pytest.fixture(lambda self: PackageSpec(scheme="fake", name="empty", version="1.0.0")),
        "caught_by": tests,
        "within": 5.0,
    }
    return type(f"Test{driver.__name__}", (BuilderContract,), {**given, **members})


class LeavesHalfARoot(FakeBuilder):
    """What is half made is taken by the next one."""

    folder = None

    def build(self, package, report):
        half = self.folder / "root"
        root = super().build(package, report)
        if half.exists() and not (half / "whole").exists():
            return replace(root, command=("/bin/true",))
        half.mkdir(exist_ok=True)
        time.sleep(0.8)
        (half / "whole").touch()
        return root


@pytest.fixture
def half_made(self, tmp_path):
    builder = LeavesHalfARoot()
    builder.folder = tmp_path
    return builder


TestRelativeCommand = wrong(RelativeCommand, "test_a_root_is_a_command_with_every_folder_that_it_must_see")
TestRunsSomethingElse = wrong(RunsSomethingElse, "test_the_command_starts_a_server_that_answers")
TestSaysNothing = wrong(SaysNothing, "test_progress_is_reported")
TestNewRootEachTime = wrong(
    NewRootEachTime,
    "test_building_again_gives_the_same_root_and_touches_no_network",
    "test_builds_at_the_same_time_give_one_root",
)
TestAlwaysNeedsTheIndex = wrong(AlwaysNeedsTheIndex, "test_building_again_gives_the_same_root_and_touches_no_network")
TestSaysFailedForEverything = wrong(
    SaysFailedForEverything,
    "test_a_package_that_is_not_prepared_needs_the_index",
    "test_an_unknown_package_is_not_found_and_named",
    "test_an_unknown_version_is_not_found",
)
TestTakesAnyVersion = wrong(TakesAnyVersion, "test_an_unknown_version_is_not_found")
TestFailsWithoutEvidence = wrong(FailsWithoutEvidence, "test_a_package_without_an_executable_fails_with_evidence")
TestLeavesHalfARoot = wrong(
    LeavesHalfARoot, "test_an_interrupted_build_leaves_nothing_that_a_later_one_would_take", builder=half_made
)
TestCannotBeShared = wrong(CannotBeShared, "test_builds_at_the_same_time_give_one_root")
