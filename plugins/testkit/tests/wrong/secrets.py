"""Secret stores that are wrong, each caught by the test that it names."""

import json
import logging
import time

import pytest

from thv_core.errors import SecretNotFound, SecretStoreFailed
from thv_core.spi import StoreCapabilities
from thv_testkit.fakes import MemoryStore
from thv_testkit.secrets import FailingSecretStoreContract, SecretStoreContract

KNOWN = {"github": "shh-github", "api.key": "shh-key"}


class RaisesKeyError(MemoryStore):
    def get(self, name):
        return self._values[name]


class ReturnsNothing(MemoryStore):
    def get(self, name):
        return self._values.get(name, "")


class ConcealsTheName(MemoryStore):
    def get(self, name):
        try:
            return super().get(name)
        except SecretNotFound:
            raise SecretNotFound("not found") from None


class Strips(MemoryStore):
    def set(self, name, value):
        super().set(name, value.strip())


class TakesEmptyForMissing(MemoryStore):
    def get(self, name):
        return super().get(name if self._values.get(name) else "no-such-secret")


class MergesNames(MemoryStore):
    def set(self, name, value):
        super().set(name.lower(), value)

    def get(self, name):
        return super().get(name.lower())


class KeepsTheFirstValue(MemoryStore):
    def set(self, name, value):
        self._values.setdefault(name, value)


class UnsortedNames(MemoryStore):
    def names(self):
        return sorted(self._values, reverse=True)


class ListsThoughItCannot(MemoryStore):
    capabilities = StoreCapabilities(writable=True, listable=False)


class ShowsValues(MemoryStore):
    def __repr__(self):
        return f"Store({self._values})"


class LogsValues(MemoryStore):
    def get(self, name):
        logging.getLogger("store").debug("got %s", self._values.get(name))
        return super().get(name)


class ForgetsAll(MemoryStore):
    def delete(self, name):
        self.get(name)
        self._values.clear()


class DeletesAnything(MemoryStore):
    def delete(self, name):
        self._values.pop(name, None)


class WritesThoughItSaysReadOnly(MemoryStore):
    capabilities = StoreCapabilities(writable=False)


class IgnoresWrites(MemoryStore):
    capabilities = StoreCapabilities(writable=False)

    def set(self, name, value):
        """Pretend."""


class ReadsChangesWrites(MemoryStore):
    def set(self, name, value):
        values = dict(self._values)
        time.sleep(0.001)
        self._values = {**values, name: value}


class Breakable(MemoryStore):
    broken = False

    def get(self, name):
        return self._checked().get(name)

    def names(self):
        return self._checked().names()

    def set(self, name, value):
        self._checked().set(name, value)

    def delete(self, name):
        self._checked().delete(name)

    def _checked(self):
        if self.broken:
            raise SecretStoreFailed("broken", hint="repair it")
        return super()


class TakesBrokenForEmpty(Breakable):
    def get(self, name):
        if self.broken:
            raise SecretNotFound(f"there is no secret {name}")
        return super().get(name)


class LosesOnFailure(Breakable):
    def set(self, name, value):
        if self.broken:
            self._values.clear()
        super().set(name, value)


class NoHint(Breakable):
    def _checked(self):
        if self.broken:
            raise SecretStoreFailed("broken")
        return MemoryStore(self._values)


class WritesInPlace(Breakable):
    """Keeps secrets in a file, which is half written for a while, and which anyone can read."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def get(self, name):
        self._values = json.loads(self.file.read_text()) if self.file.exists() else {}
        return super().get(name)

    def set(self, name, value):
        super().set(name, value)
        text = json.dumps(self._values)
        with self.file.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            time.sleep(0.05)
            file.write(text[len(text) // 2 :])


def wrong(driver, *tests, contract=SecretStoreContract, **members):
    fixture = pytest.fixture(lambda self: driver())
    return type(f"Test{driver.__name__}", (contract,), {"store": fixture, "caught_by": tests} | members)


class TestAnExampleThatIsRight(SecretStoreContract):
    caught_by = ()

    @pytest.fixture
    def store(self):
        return MemoryStore()


known = pytest.fixture(lambda self: KNOWN)
TestRaisesKeyError = wrong(RaisesKeyError, "test_an_unknown_secret_is_not_found_and_named")
TestReturnsNothing = wrong(ReturnsNothing, "test_an_unknown_secret_is_not_found_and_named")
TestConcealsTheName = wrong(ConcealsTheName, "test_an_unknown_secret_is_not_found_and_named")
TestStrips = wrong(Strips, "test_a_value_is_kept_to_the_byte_or_writing_is_refused")
TestTakesEmptyForMissing = wrong(TakesEmptyForMissing, "test_a_value_is_kept_to_the_byte_or_writing_is_refused")
TestMergesNames = wrong(MergesNames, "test_every_name_is_kept_to_the_letter_or_writing_is_refused")
TestKeepsTheFirstValue = wrong(KeepsTheFirstValue, "test_setting_replaces_that_secret_only")
TestUnsortedNames = wrong(UnsortedNames, "test_the_names_are_all_names_sorted_or_refused")
TestListsThoughItCannot = wrong(ListsThoughItCannot, "test_the_names_are_all_names_sorted_or_refused")
TestShowsValues = wrong(ShowsValues, "test_no_value_is_in_a_representation_a_log_or_an_error")
TestLogsValues = wrong(LogsValues, "test_no_value_is_in_a_representation_a_log_or_an_error")
TestForgetsAll = wrong(ForgetsAll, "test_deleting_removes_that_secret_only_or_is_refused")
TestDeletesAnything = wrong(DeletesAnything, "test_deleting_an_unknown_secret_is_not_found")
TestReadsChangesWrites = wrong(ReadsChangesWrites, "test_writers_at_the_same_time_lose_nothing")
TestWritesThoughItSaysReadOnly = wrong(
    WritesThoughItSaysReadOnly,
    "test_a_refused_write_changes_nothing",
    known=known,
)
TestIgnoresWrites = wrong(IgnoresWrites, "test_a_refused_write_changes_nothing", known=known)
TestKeepsInMemoryOnly = wrong(
    MemoryStore,
    "test_a_value_is_kept_to_the_byte_or_writing_is_refused",
    "test_setting_replaces_that_secret_only",
    again=pytest.fixture(lambda self: MemoryStore()),
)


def breaking(self, store):
    def broken():
        store.broken = True
        return lambda: setattr(store, "broken", False)

    return broken


failing = {"contract": FailingSecretStoreContract, "broken": pytest.fixture(breaking)}
TestBreakable = wrong(Breakable, **failing)
TestTakesBrokenForEmpty = wrong(
    TakesBrokenForEmpty, "test_a_broken_place_is_a_failure_with_a_hint_and_not_a_missing_secret", **failing
)
TestLosesOnFailure = wrong(LosesOnFailure, "test_what_was_there_is_kept_when_writing_fails", **failing)
in_place = pytest.fixture(lambda self, surroundings: WritesInPlace(surroundings.state / "secrets.json"))
TestWritesInPlace = wrong(
    WritesInPlace,
    "test_an_interrupted_write_leaves_the_old_value_or_the_new",
    "test_no_value_is_in_a_file_that_others_can_read",
    store=in_place,
    **failing,
)
TestNoHint = wrong(NoHint, "test_a_broken_place_is_a_failure_with_a_hint_and_not_a_missing_secret", **failing)
