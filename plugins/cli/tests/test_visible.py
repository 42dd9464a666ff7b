"""Text from strangers."""

from __future__ import annotations

import json

import pytest

from thv_cli.visible import cell, escaped_json, prose, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb", "a\\rb"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("lone\udcff", "lone\\udcff"),
        ("Grüße 世界 ✓", "Grüße 世界 ✓"),
    ],
)
def test_characters_that_drive_a_terminal_become_escapes(text: str, shown: str) -> None:
    assert prose(text) == shown
    assert cell(text) == shown


def test_prose_keeps_its_lines_and_a_cell_has_only_one() -> None:
    assert prose("one\n\ttwo") == "one\n\ttwo"
    assert cell("one\n\ttwo") == "one\\n\\ttwo"


@pytest.mark.parametrize("text", ["\u202eabc", "\x9b31m", "\U000e0041", "\udcff", "plain", "\x1b[0m"])
def test_escaped_json_means_the_same_and_has_nothing_unsafe(text: str) -> None:
    written = escaped_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(written) == {"text": text}
    assert prose(written) == written


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("世界", 4), ("e\u0301", 1), ("", 0)])
def test_width_counts_the_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns
