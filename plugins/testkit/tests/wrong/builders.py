"""Builders that are wrong, each caught by the tests that it names."""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from thv_core.errors import PreparationFailed, Unavailable
from thv_core.spi import Job, PackageSpec, PreparedPackage
from thv_testkit.builders import BuilderContract
from thv_testkit.fakes import FakeBuilder


class RelativeCommand(FakeBuilder):
    def build(self, package, report, workshop):
        root = super().build(package, report, workshop)
        return replace(root, command=("python3", *root.command[1:]))


class RunsSomethingElse(FakeBuilder):
    def build(self, package, report, workshop):
        return replace(super().build(package, report, workshop), command=("/bin/true",))


class SaysNothing(FakeBuilder):
    def build(self, package, report, workshop):
        return super().build(package, lambda _: None, workshop)


class NewRootEachTime(FakeBuilder):
    def build(self, package, report, workshop):
        return replace(super().build(package, report, workshop), size=time.monotonic_ns())


class AlwaysNeedsTheIndex(FakeBuilder):
    def build(self, package, report, workshop):
        if not self._reachable:
            raise Unavailable("no answer")
        return super().build(package, report, workshop)


class SaysFailedForEverything(FakeBuilder):
    def build(self, package, report, workshop):
        try:
            return super().build(package, report, workshop)
        except Exception:
            raise PreparationFailed("it did not work") from None


class FailsWithoutEvidence(FakeBuilder):
    def build(self, package, report, workshop):
        try:
            return super().build(package, report, workshop)
        except PreparationFailed as error:
            raise PreparationFailed(error.message) from None


class TakesAnyVersion(FakeBuilder):
    def build(self, package, report, workshop):
        return super().build(replace(package, version="1.0.0"), report, workshop)


class CannotBeShared(FakeBuilder):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.busy = threading.Lock()

    def build(self, package, report, workshop):
        if not self.busy.acquire(blocking=False):
            raise PreparationFailed("another build is under way")
        try:
            time.sleep(0.05)
            return super().build(package, report, workshop)
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

    def build(self, package, report, workshop):
        half = self.folder / "root"
        root = super().build(package, report, workshop)
        if half.exists() and not (half / "whole").exists():
            return replace(root, command=("/bin/true",))
        half.mkdir(exist_ok=True)
        time.sleep(0.8)
        (half / "whole").touch()
        return root


class LeavesHalfARootToOthers(FakeBuilder):
    """What was begun when the workshop failed is taken for whole."""

    folder = None

    def build(self, package, report, workshop):
        root = super().build(package, report, workshop)
        half = self.folder / "root"
        if half.exists():
            return replace(root, command=("/bin/true",))
        half.mkdir()
        workshop.run(Job(name="install", command=("/bin/true",)))
        half.rmdir()
        return root


class Keeps(FakeBuilder):
    """Keeps a folder for each package, and lists and discards it as it should."""

    folder = None

    def build(self, package, report, workshop):
        root = super().build(package, report, workshop)
        place = self.folder / f"{package.scheme}-{package.name}-{package.version}"
        place.mkdir(exist_ok=True)
        return replace(root, path=str(place))

    def prepared(self):
        return [
            PreparedPackage(reference="{}://{}@{}".format(*place.name.split("-")), path=str(place), packages=1)
            for place in self.folder.iterdir()
        ]

    def discard(self, package):
        with contextlib.suppress(FileNotFoundError):
            Path(package.path).rmdir()


class ListsOtherFigures(Keeps):
    def prepared(self):
        return [replace(each, packages=9) for each in super().prepared()]


class DiscardsNothing(Keeps):
    def discard(self, package):
        """Delete nothing."""


class DiscardsOnce(Keeps):
    def discard(self, package):
        Path(package.path).rmdir()


class HidesWhatItDiscards(Keeps):
    hidden = False

    def prepared(self):
        return [] if self.hidden else super().prepared()

    def discard(self, package):
        self.hidden = True


class ListsOnlyItsOwn(Keeps):
    def prepared(self):
        return super().prepared() if self.built else []


def in_folder(driver, **settings):
    @pytest.fixture
    def made(self, tmp_path):
        builder = driver(**settings)
        builder.folder = tmp_path
        return builder

    return made


def kept_wrong(driver, *tests):
    return wrong(driver, *tests, builder=in_folder(driver), unreachable=in_folder(driver, reachable=False))


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
TestLeavesHalfARoot = kept_wrong(
    LeavesHalfARoot, "test_an_interrupted_build_leaves_nothing_that_a_later_one_would_take"
)
TestCannotBeShared = wrong(CannotBeShared, "test_builds_at_the_same_time_give_one_root")
TestLeavesHalfARootToOthers = kept_wrong(
    LeavesHalfARootToOthers,
    "test_a_job_that_cannot_be_isolated_ends_the_build_and_leaves_nothing_that_a_later_one_would_take",
)
TestKeeps = kept_wrong(Keeps)
TestListsOtherFigures = kept_wrong(ListsOtherFigures, "test_what_is_listed_as_prepared_can_be_discarded_and_built_anew")
TestDiscardsNothing = kept_wrong(DiscardsNothing, "test_what_is_listed_as_prepared_can_be_discarded_and_built_anew")
TestDiscardsOnce = kept_wrong(DiscardsOnce, "test_what_is_listed_as_prepared_can_be_discarded_and_built_anew")
TestHidesWhatItDiscards = kept_wrong(
    HidesWhatItDiscards, "test_what_is_listed_as_prepared_can_be_discarded_and_built_anew"
)
TestListsOnlyItsOwn = kept_wrong(ListsOnlyItsOwn, "test_what_a_second_instance_lists_is_the_same")
