"""YAML and JSON as plain data that knows its lines."""

from __future__ import annotations

import pytest

from thv_core.errors import InvalidDocument
from thv_core.services.located import MOST_TEXT, Located, located


def one(text: str) -> Located:
    (found,) = located(text, "f")
    return found


def refusal(text: str) -> str:
    with pytest.raises(InvalidDocument) as caught:
        located(text, "f.yaml")
    assert caught.value.message.startswith("f.yaml")
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("-3", -3),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ("0xffffffffffffffff", (1 << 64) - 1),
        ('"1"', "1"),
        ("1.2.3", "1.2.3"),
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
        ("!!python/object/apply:os.getcwd []", []),
        ("!mine text", "text"),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_a_value_is_what_yaml_1_2_says(text: str, value: object) -> None:
    assert one(f"key: {text}").data == {"key": value}


def test_each_key_knows_its_line_and_what_is_not_there_the_line_above() -> None:
    found = one("# comment\na: 1\nb:\n  - c: 2\n    d:\n      3\n  - x\n")
    lines = [found.line(path) for path in (("a",), ("b",), ("b", 0), ("b", 0, "d"), ("b", 1), ("b", 0, "e"), ())]
    assert lines == [2, 3, 4, 5, 7, 4, 2]
    assert (found.said("b[0].d"), found.said("")) == (" (line 5)", " (line 2)")
    part = found.within({"c": 2}, ("b", 0))
    assert (part.data, part.line(("d",)), part.line(())) == ({"c": 2}, 5, 4)


def test_documents_follow_each_other_with_lines_of_the_file() -> None:
    found = located("a: 1\n---\nb: 2\n---\n", "f")
    assert [each.data for each in found] == [{"a": 1}, {"b": 2}, None]
    assert found[1].line(("b",)) == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff"])
def test_a_text_without_a_document_has_none(text: str) -> None:
    assert located(text, "f") == []


def test_json_may_be_indented_by_tabs_and_write_a_character_as_two_escapes() -> None:
    found = one('\ufeff{\n\t"a": "\\ud83d\\ude00 \\\\ud83d",\n\t"b": "x\\ty\\/z"\n}\n')
    assert found.data == {"a": "\U0001f600 \\ud83d", "b": "x\ty/z"}
    assert found.line(("b",)) == 3


def test_a_merge_is_understood_and_gives_way_to_what_is_written() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {z: 1}\nc:\n  <<: [*a, *b]\n  y: 2\n"
    assert one(text).data == {"a": {"x": 1, "y": 1}, "b": {"z": 1}, "c": {"x": 1, "y": 2, "z": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a is there twice (line 3)"),
        ('{"a": 1,\n "a": 2}', "a is there twice (line 2)"),
        ("x:\n  y: 1\n  y: 2\n", "y is there twice (line 3)"),
        ("a: [\n", "(line 2)"),
        ("x:\n\ty: 1\n", "(line 2)"),
        ("a: *b\n", "undefined alias"),
        ("? [a]\n: 1\n", "a key must be text (line 1)"),
        ("a: 1\nb:\n  <<: 3\n", "<< takes a mapping (line 3)"),
        ("a: &a [*a]\n", "is not YAML"),
        ("a: " + "[" * 2000, "is not YAML"),
        ("a: \x00\n", "is not YAML"),
        ("a: 1\nb: !!int hunter2\n", "there is no number that can be meant (line 2)"),
        ("a: 1\nb: .nan\n", "there is no number that can be meant (line 2)"),
        ("a: -.INF\n", "there is no number that can be meant (line 1)"),
        ("a: 1e999\n", "there is no number that can be meant (line 1)"),
        ("a: 0x10000000000000000\n", "there is no number that can be meant (line 1)"),
        ("a: 0x" + "f" * 6000, "there is no number that can be meant (line 1)"),
        ("a: " + "9" * 6000, "there is no number that can be meant (line 1)"),
        ('{"a":\n"\\ud83d"}', "there is half a character (line 2)"),
        ('{"\\ud83d": 1}', "there is half a character (line 1)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, message: str) -> None:
    assert message in refusal(text)


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "more than 100000 values" in refusal("\n".join(lines))


def test_a_scalar_that_is_refused_is_not_repeated_for_it_may_be_a_secret() -> None:
    assert "hunter2" not in refusal("a: !!int hunter2\n")


def test_merges_of_merges_do_not_grow_without_bound_even_when_nothing_is_in_them() -> None:
    lines = ["a0: &a0 {}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    assert "more than 100000 values" in refusal("\n".join(lines))


def test_a_text_that_is_too_long_is_refused_unread() -> None:
    assert "more than 4 MiB" in refusal("#" * (MOST_TEXT + 1))
