"""The conformance class of server sources (:class:`thv_core.spi.ServerSource`)."""

# ruff: noqa: D102 - the name of a test is its sentence

from __future__ import annotations

import pytest

from thv_core.errors import InvalidRequest, PackageNotFound, Unavailable
from thv_core.model.names import valid_name
from thv_core.spi import ServerEntry, ServerSource

__all__ = ["ServerSourceContract"]


class ServerSourceContract:
    """What every server source does. Give the fixtures ``source`` and ``unreachable``, and the attributes.

    ``source`` asks an index that answers; a fixture of the vendor's may stand in for the real one. ``unreachable`` is
    the same source with an index that does not answer.
    """

    scheme: str
    """The name of the entry point, such as ``uvx``."""

    package: str
    """A package that the index has."""

    version: str
    """A version of it that is not the newest."""

    misspelt: str
    """What ``package`` becomes by a slip of the finger; the index has no package of that name."""

    malformed: tuple[str, ...] = ()
    """Further references that this scheme refuses."""

    @pytest.fixture
    def source(self) -> ServerSource:
        """Give the source under test."""
        raise NotImplementedError("give a fixture named source")

    @pytest.fixture
    def unreachable(self) -> ServerSource:
        """Give the source with an index that does not answer."""
        raise NotImplementedError("give a fixture named unreachable")

    def test_a_name_is_resolved_to_an_exact_version(self, source: ServerSource) -> None:
        entry = source.resolve(f"{self.scheme}://{self.package}")
        assert isinstance(entry, ServerEntry)
        assert (entry.package.scheme, entry.package.name) == (self.scheme, self.package)
        assert entry.package.version not in ("", "latest", self.version)
        assert valid_name(entry.name)
        assert entry.origin

    def test_resolving_what_was_resolved_gives_the_same(self, source: ServerSource) -> None:
        entry = source.resolve(f"{self.scheme}://{self.package}")
        assert source.resolve(entry.package.reference).package == entry.package
        assert source.resolve(f"{self.scheme}://{self.package}") == entry

    def test_an_exact_version_is_taken_without_asking_anyone(self, unreachable: ServerSource) -> None:
        entry = unreachable.resolve(f"{self.scheme}://{self.package}@{self.version}")
        assert entry.package.reference == f"{self.scheme}://{self.package}@{self.version}"
        assert valid_name(entry.name)

    def test_an_index_that_does_not_answer_is_said_to_be_unavailable(self, unreachable: ServerSource) -> None:
        with pytest.raises(Unavailable):
            unreachable.resolve(f"{self.scheme}://{self.package}")

    def test_a_misspelt_name_is_not_found_and_the_hint_names_the_nearest(self, source: ServerSource) -> None:
        with pytest.raises(PackageNotFound) as caught:
            source.resolve(f"{self.scheme}://{self.misspelt}")
        assert self.misspelt in caught.value.message
        assert self.package in caught.value.hint

    def test_a_malformed_reference_is_refused_before_anyone_is_asked(self, unreachable: ServerSource) -> None:
        malformed = ("", "://", f"{self.scheme}://", f"{self.scheme}://@1.0", f"{self.scheme}://two words")
        for reference in (*malformed, f"{self.scheme}://{self.package}@", *self.malformed):
            assert _is_refused(unreachable, reference), f"{reference!r} was taken"

    def test_another_scheme_is_refused(self, source: ServerSource) -> None:
        with pytest.raises(InvalidRequest):
            source.resolve(f"not-{self.scheme}://{self.package}")


def _is_refused(source: ServerSource, reference: str) -> bool:
    try:
        source.resolve(reference)
    except InvalidRequest:
        return True
    return False
