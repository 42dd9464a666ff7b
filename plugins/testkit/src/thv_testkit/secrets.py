"""The conformance classes of secret stores (:class:`thv_core.spi.SecretStore`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from thv_core.errors import SecretNotFound, SecretStoreFailed, Unsupported
from thv_core.spi import SecretStore, Surroundings
from thv_testkit.interruptions import killed_after

__all__ = ["FailingSecretStoreContract", "SecretStoreContract", "damage"]

_VALUES = {
    "plain": "shh-4711",
    "empty": "",
    "spaced": "  spaces at both ends \t",
    "lines": "-----BEGIN KEY-----\nAAAA\r\n\nBBBB\n-----END KEY-----\n",
    "unicode": "pässwörd 密码 \U0001f511",
    "json": '{"a": "b\\n"}',
    "long": "x" * 65536,
}
_AWKWARD_NAMES = ("two words", "a/b", "../outside", "ünïcode", "UPPER", "dotted.name", "=", "__proto__", "a" * 200)


class SecretStoreContract:
    """What every secret store does. Name the ``driver``, or give the fixture ``store``.

    A read-only store needs the fixture ``known``, too: the secrets that it holds.

    ``again`` is a second instance on the same place, by which it is proven that a value outlives the instance that
    stored it, and that two writers do not lose each other's secrets; without a ``driver``, give it too.
    """

    driver: type[SecretStore] | None = None
    """The store under test, when it can be constructed without settings."""

    awkward_names: tuple[str, ...] = _AWKWARD_NAMES
    """Names of secrets that people have; a store whose service forbids some leaves those out."""

    @pytest.fixture
    def store(self, surroundings: Surroundings) -> SecretStore:
        """Give the store under test."""
        assert self.driver is not None, "name the driver, or give a fixture named store"
        return self.driver.from_settings({}, surroundings)

    @pytest.fixture
    def again(self, store: SecretStore, surroundings: Surroundings) -> SecretStore:
        """Give a second instance on the same place."""
        return store if self.driver is None else self.driver.from_settings({}, surroundings)

    @pytest.fixture
    def known(self, store: SecretStore) -> Mapping[str, str]:
        """Give the secrets that the store holds, all of them."""
        assert store.capabilities.writable, "give a fixture named known: the secrets that the read-only store holds"
        values = {"github": "shh-github-value", "api.key": "shh-other-value"}
        for name, value in values.items():
            store.set(name, value)
        return values

    def test_every_known_secret_has_its_value(self, store: SecretStore, known: Mapping[str, str]) -> None:
        assert known
        assert {name: store.get(name) for name in known} == dict(known)

    def test_an_unknown_secret_is_not_found_and_named(self, store: SecretStore, known: Mapping[str, str]) -> None:
        for name in ("no-such-secret", next(iter(known)) + "x"):
            with pytest.raises(SecretNotFound) as caught:
                store.get(name)
            assert name in caught.value.message

    def test_the_names_are_all_names_sorted_or_refused(self, store: SecretStore, known: Mapping[str, str]) -> None:
        if not store.capabilities.listable:
            with pytest.raises(Unsupported):
                list(store.names())
            return
        assert list(store.names()) == sorted(known)
        assert list(store.names()) == sorted(known)

    def test_no_value_is_in_a_representation_a_log_or_an_error(
        self,
        store: SecretStore,
        known: Mapping[str, str],
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(0)
        said = [_refused(partial(store.get, "no-such-secret"))]
        for name, value in known.items():
            store.get(name)
            said += [_refused(partial(store.set, name, value)), repr(store), str(store)]
        said += [caplog.text, *capfd.readouterr()]
        assert not [name for name, value in known.items() if value and value in "".join(said)]

    def test_no_value_is_in_a_file_that_others_can_read(
        self, store: SecretStore, known: Mapping[str, str], surroundings: Surroundings
    ) -> None:
        assert {name: store.get(name) for name in known} == dict(known)
        values = [value.encode() for value in known.values() if value]
        for folder in (surroundings.state, surroundings.cache):
            for file in filter(Path.is_file, folder.rglob("*")):
                holds_one = any(value in file.read_bytes() for value in values)
                assert not (holds_one and file.stat().st_mode & 0o077), f"others can read {file}"

    @pytest.mark.parametrize("kind", sorted(_VALUES))
    def test_a_value_is_kept_to_the_byte_or_writing_is_refused(
        self, store: SecretStore, again: SecretStore, kind: str
    ) -> None:
        if _refuses_to_write(store):
            return
        store.set("secret", _VALUES[kind])
        assert store.get("secret") == _VALUES[kind]
        assert again.get("secret") == _VALUES[kind]

    def test_every_name_is_kept_to_the_letter_or_writing_is_refused(
        self, store: SecretStore, again: SecretStore
    ) -> None:
        if _refuses_to_write(store):
            return
        for name in self.awkward_names:
            store.set(name, f"value of {name}")
        assert {name: again.get(name) for name in self.awkward_names} == {
            name: f"value of {name}" for name in self.awkward_names
        }
        if store.capabilities.listable:
            assert list(again.names()) == sorted(self.awkward_names)

    def test_setting_replaces_that_secret_only(
        self, store: SecretStore, again: SecretStore, known: Mapping[str, str]
    ) -> None:
        if _refuses_to_write(store):
            return
        changed, *others = known
        store.set(changed, "a new value")
        assert again.get(changed) == "a new value"
        assert {name: again.get(name) for name in others} == {name: known[name] for name in others}

    def test_deleting_removes_that_secret_only_or_is_refused(
        self, store: SecretStore, again: SecretStore, known: Mapping[str, str]
    ) -> None:
        gone, *others = known
        if _refuses_to_write(store):
            with pytest.raises(Unsupported):
                store.delete(gone)
            assert store.get(gone) == known[gone]
            return
        store.delete(gone)
        with pytest.raises(SecretNotFound):
            again.get(gone)
        assert {name: again.get(name) for name in others} == {name: known[name] for name in others}
        if store.capabilities.listable:
            assert list(again.names()) == sorted(others)

    def test_deleting_an_unknown_secret_is_not_found(self, store: SecretStore) -> None:
        with pytest.raises(SecretNotFound if store.capabilities.writable else Unsupported):
            store.delete("no-such-secret")

    def test_a_refused_write_changes_nothing(self, store: SecretStore, known: Mapping[str, str]) -> None:
        if _refuses_to_write(store):
            with pytest.raises(Unsupported):
                store.set(next(iter(known)), "another value")
        assert {name: store.get(name) for name in known} == dict(known)

    def test_writers_at_the_same_time_lose_nothing(self, store: SecretStore, again: SecretStore) -> None:
        if _refuses_to_write(store):
            return
        expected = {f"writer-{writer}-{number}": f"value {number}" for writer in range(4) for number in range(5)}

        def write(writer: int) -> None:
            for number in range(5):
                (store, again)[writer % 2].set(f"writer-{writer}-{number}", f"value {number}")

        with ThreadPoolExecutor(4) as writers:
            list(writers.map(write, range(4)))
        assert {name: store.get(name) for name in expected} == expected


class FailingSecretStoreContract(SecretStoreContract):
    """What a store does, besides, whose place can fail. Name the ``place``, or give the fixture ``broken``.

    ``broken`` is called with nothing: from then on the place of the store cannot be read or written; it returns what
    repairs it, as it was.
    """

    place: str = ""
    """The file of a store that keeps its secrets in one, below ``surroundings.state``."""

    @pytest.fixture
    def broken(self, surroundings: Surroundings) -> Callable[[], Callable[[], object]]:
        """Give what breaks the place of the store, and returns what repairs it."""
        assert self.place, "name the place, or give a fixture named broken"
        return partial(damage, surroundings.state / self.place)

    def test_a_broken_place_is_a_failure_with_a_hint_and_not_a_missing_secret(
        self, store: SecretStore, known: Mapping[str, str], broken: Callable[[], Callable[[], object]]
    ) -> None:
        broken()
        name = next(iter(known))
        calls: list[Callable[[], object]] = [lambda: store.get(name)]
        if store.capabilities.listable:
            calls.append(lambda: list(store.names()))
        if store.capabilities.writable:
            calls += [lambda: store.set(name, "a new value"), lambda: store.delete(name)]
        for call in calls:
            with pytest.raises(SecretStoreFailed) as caught:
                call()
            assert caught.value.hint
            assert not [value for value in (*known.values(), "a new value") if value in str(caught.value)]

    @pytest.mark.parametrize("moment", [0.002, 0.02, 0.1])
    def test_an_interrupted_write_leaves_the_old_value_or_the_new(
        self, store: SecretStore, again: SecretStore, known: Mapping[str, str], moment: float
    ) -> None:
        name, *others = known
        written = {letter: letter * 100_000 for letter in "abcdefgh"}

        def write() -> None:
            for _ in range(10_000):
                for value in written.values():
                    again.set(name, value)

        killed_after(moment, write)
        assert store.get(name) in (known[name], *written.values())
        assert {other: store.get(other) for other in others} == {other: known[other] for other in others}

    def test_what_was_there_is_kept_when_writing_fails(
        self, store: SecretStore, known: Mapping[str, str], broken: Callable[[], Callable[[], object]]
    ) -> None:
        repair = broken()
        with pytest.raises(SecretStoreFailed if store.capabilities.writable else Unsupported):
            store.set(next(iter(known)), "a new value")
        repair()
        assert {name: store.get(name) for name in known} == dict(known)


def damage(file: Path) -> Callable[[], object]:
    """Write into a file what no program would have written, and return what repairs it."""
    before = file.read_bytes()
    file.write_bytes(b'{"github": \xff')
    return partial(file.write_bytes, before)


def _refuses_to_write(store: SecretStore) -> bool:
    if store.capabilities.writable:
        return False
    with pytest.raises(Unsupported):
        store.set("secret", "value")
    return True


def _refused(call: Callable[[], object]) -> str:
    """Return the words of the error that a call raises, or nothing."""
    try:
        call()
    except (SecretNotFound, Unsupported) as error:
        return str(error) + repr(error)
    return ""
