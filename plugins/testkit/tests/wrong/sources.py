"""Server sources that are wrong, each caught by the tests that it names."""

import pytest
from msgspec.structs import replace

from thv_core.errors import InvalidRequest, PackageNotFound
from thv_core.spi import PackageSpec, ServerEntry
from thv_testkit.fakes import FakeSource
from thv_testkit.sources import ServerSourceContract


class LeavesTheVersionOpen(FakeSource):
    def _newest(self, name):
        super()._newest(name)
        return "latest"


class TakesTheOldest(FakeSource):
    def _newest(self, name):
        super()._newest(name)
        return self._packages[name][0]


class ChangesItsMind(FakeSource):
    asked = 0

    def _newest(self, name):
        super()._newest(name)
        ChangesItsMind.asked += 1
        return f"1.{self.asked}.7"


class AlwaysAsks(FakeSource):
    def resolve(self, reference):
        self._newest(reference.partition("://")[2].partition("@")[0])
        return super().resolve(reference)


class AnswersWithoutAnIndex(FakeSource):
    def _newest(self, name):
        return "1.1.0"


class SaysNotFoundForUnavailable(FakeSource):
    def _newest(self, name):
        if not self._reachable:
            raise PackageNotFound(f"there is no {name}")
        return super()._newest(name)


class GivesNoHint(FakeSource):
    def _newest(self, name):
        try:
            return super()._newest(name)
        except PackageNotFound as error:
            raise PackageNotFound(error.message) from None


class TakesAnything(FakeSource):
    def resolve(self, reference):
        try:
            return super().resolve(reference)
        except InvalidRequest:
            return ServerEntry(name="any", package=PackageSpec(scheme="fake", name="any", version="1.0"))


class NamesItBadly(FakeSource):
    def resolve(self, reference):
        return replace(super().resolve(reference), name="@scope/name")


def wrong(driver, *tests):
    members = {
        "source": pytest.fixture(lambda self: driver()),
        "unreachable": pytest.fixture(lambda self: driver(reachable=False)),
        "caught_by": tests,
    }
    attributes = {"scheme": "fake", "package": "echo", "version": "1.0.0", "misspelt": "ehco"}
    return type(f"Test{driver.__name__}", (ServerSourceContract,), {**members, **attributes})


TestLeavesTheVersionOpen = wrong(LeavesTheVersionOpen, "test_a_name_is_resolved_to_an_exact_version")
TestTakesTheOldest = wrong(TakesTheOldest, "test_a_name_is_resolved_to_an_exact_version")
TestNamesItBadly = wrong(
    NamesItBadly,
    "test_a_name_is_resolved_to_an_exact_version",
    "test_an_exact_version_is_taken_without_asking_anyone",
)
TestChangesItsMind = wrong(ChangesItsMind, "test_resolving_what_was_resolved_gives_the_same")
TestAlwaysAsks = wrong(AlwaysAsks, "test_an_exact_version_is_taken_without_asking_anyone")
TestAnswersWithoutAnIndex = wrong(
    AnswersWithoutAnIndex,
    "test_an_index_that_does_not_answer_is_said_to_be_unavailable",
    "test_a_misspelt_name_is_not_found_and_the_hint_names_the_nearest",
)
TestSaysNotFoundForUnavailable = wrong(
    SaysNotFoundForUnavailable, "test_an_index_that_does_not_answer_is_said_to_be_unavailable"
)
TestGivesNoHint = wrong(GivesNoHint, "test_a_misspelt_name_is_not_found_and_the_hint_names_the_nearest")
TestTakesAnything = wrong(
    TakesAnything, "test_a_malformed_reference_is_refused_before_anyone_is_asked", "test_another_scheme_is_refused"
)
