from __future__ import annotations

import pytest

import thv_core.errors as errors
from thv_core.errors import InvalidRequest, NotFound, PackageNotFound, SettingsError, ThvError, error_from_document

CLASSES = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ThvError)]


def test_an_error_shows_what_failed_the_evidence_and_the_hint() -> None:
    error = ThvError("it failed", evidence=["line 1", "line 2"], hint="thv try again")
    assert str(error) == "it failed\n  line 1\n  line 2\n  thv try again"


def test_an_error_without_more_is_one_line() -> None:
    assert str(ThvError("it failed")) == "it failed"


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_its_way_through_the_api(kind: type[ThvError]) -> None:
    error = kind("it failed", evidence=["line"], hint="hint")
    again = error_from_document(error.document())
    assert type(again) is kind
    assert again.document() == error.document()


def test_a_plugins_class_without_a_code_does_not_take_the_place_of_its_parent() -> None:
    class Special(NotFound):
        def __init__(self, number: int) -> None:
            super().__init__(f"number {number} is gone")

    again = error_from_document(Special(3).document())
    assert (type(again), again.message) == (NotFound, "number 3 is gone")


def test_every_code_belongs_to_one_class() -> None:
    assert len({each.code for each in CLASSES}) == len(CLASSES)


def test_every_error_is_exported_and_documented() -> None:
    assert {each.__name__ for each in CLASSES} | {"error_from_document"} == set(errors.__all__)
    assert all(each.__doc__ for each in CLASSES)


@pytest.mark.parametrize("document", [{}, {"code": "of a newer version"}, {"evidence": None, "code": 3}])
def test_an_unknown_document_is_a_plain_error(document: dict[str, object]) -> None:
    error = error_from_document(document)
    assert (type(error), error.message, error.evidence, error.hint) == (ThvError, "", (), "")


def test_what_the_user_got_wrong_exits_with_2_and_everything_else_with_1() -> None:
    assert {each for each in CLASSES if each.exit_code == 2} == {
        each for each in CLASSES if issubclass(each, InvalidRequest)
    }
    assert {each.exit_code for each in CLASSES} == {1, 2}


def test_special_errors_are_caught_as_general_ones() -> None:
    assert issubclass(PackageNotFound, NotFound)
    assert issubclass(SettingsError, InvalidRequest)
