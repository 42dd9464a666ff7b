from __future__ import annotations

import pytest

from thv_core.errors import InvalidDocument
from thv_core.model.document import Document, convert_document, decode_document, encode_document, nearest


class Inner(Document, frozen=True, kw_only=True):
    allow_host: tuple[str, ...] = ()


class Outer(Document, frozen=True, kw_only=True):
    name: str
    network: Inner = Inner()
    many: tuple[Inner, ...] = ()


class Route(Document, frozen=True, kw_only=True):
    beside: tuple[Route, ...] = ()


def refusal(text: str | bytes) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        decode_document(text, Outer, "file.json")
    return caught.value


def test_a_document_comes_back_as_it_was() -> None:
    value = Outer(name="x", network=Inner(allow_host=("a",)), many=(Inner(),))
    assert decode_document(encode_document(value), Outer, "") == value


def test_a_document_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Outer(name="x").name = "y"  # type: ignore[misc]  # proves it


def test_an_unknown_key_is_named_with_its_line_and_the_nearest() -> None:
    error = refusal('{\n "name": "x",\n "netwrok": {}\n}')
    assert error.message == "file.json: netwrok is not a known key (line 3)"
    assert error.hint == "Did you mean network?"


def test_an_unknown_key_further_in_is_named_with_its_path() -> None:
    error = refusal('{"name": "x",\n "network":\n {"allow_hosts": []}}')
    assert error.message == "file.json: network.allow_hosts is not a known key (line 3)"
    assert error.hint == "Did you mean allow_host?"


def test_an_unknown_key_that_resembles_nothing_is_answered_with_those_that_are_known() -> None:
    assert refusal('{"name": "x", "zzz": 1}').hint == "Known keys: allow_host, many, name, network."


def test_an_unknown_key_of_a_document_that_holds_its_own_kind_is_named() -> None:
    with pytest.raises(InvalidDocument, match="workers is not a known key") as caught:
        decode_document('{"workers": 1}', Route, "routes.json")
    assert caught.value.hint == "Known keys: beside."


def test_an_ill_typed_value_is_named_with_its_path_and_line() -> None:
    error = refusal('{"name": "x",\n "network": {"allow_host": 3}}')
    assert error.message == "file.json: network.allow_host must be a list, not a whole number (line 2)"
    assert error.hint == 'Write it in brackets:  ["one", "two"]'


def test_a_missing_key_is_named() -> None:
    error = refusal("{}")
    assert error.message == "file.json: name is missing"
    assert error.hint == 'Add it:  "name": …'


def test_an_element_is_named_with_its_place_and_line() -> None:
    error = refusal('{"name": "x",\n "many": [{"allow_host": ["a", 1]}]}')
    assert error.message == "file.json: many[0].allow_host[1] must be text, not a whole number (line 2)"


@pytest.mark.parametrize(
    ("text", "reason"), [("", "it is empty"), (" \n", "it is empty"), ('{"name": "x', "it ends in the middle")]
)
def test_a_text_that_ends_too_early_is_said_to(text: str, reason: str) -> None:
    error = refusal(text)
    assert error.message == f"file.json is not JSON: {reason}"
    assert error.hint


@pytest.mark.parametrize("text", ['{"name": "x",\n\n oops', b'{"name": "x",\n\n oops'])
def test_a_syntax_error_is_named_with_its_line(text: str | bytes) -> None:
    message = refusal(text).message
    assert message.startswith("file.json is not JSON")
    assert "(line 3)" in message


@pytest.mark.parametrize("text", ["", "3", "[]", "null", "\ufeff{}", "[" * 100_000, b"\xff\xfe"])
def test_whatever_is_no_document_is_refused(text: str | bytes) -> None:
    assert refusal(text).message.startswith("file.json")


@pytest.mark.parametrize(("word", "expected"), [("nmae", "name"), ("xyz", ""), ("name", "name")])
def test_nearest_is_what_was_probably_meant(word: str, expected: str) -> None:
    assert nearest(word, ["name", "network"]) == expected


def test_plain_data_is_converted_and_its_reader_says_where_something_is() -> None:
    data = {"name": "x", "network": {"allow_host": ["a"]}}
    assert convert_document(data, Outer, "f", str) == Outer(name="x", network=Inner(allow_host=("a",)))
    for wrong, path in [
        ({"name": "x", "netwrok": {}}, "netwrok"),
        ({"name": "x", "network": {"allow_hots": []}}, "network.allow_hots"),
        ({"name": "x", "many": [{}, {"allow_host": [1]}]}, "many[1].allow_host[0]"),
        ({}, "name"),
        ([], ""),
    ]:
        with pytest.raises(InvalidDocument) as caught:
            convert_document(wrong, Outer, "f", lambda found: f" <{found}>")
        assert caught.value.message.startswith("f: ")
        assert caught.value.message.endswith(f" <{path}>")
