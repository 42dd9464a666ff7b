"""Variables from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from thv_core.errors import InvalidRequest
from thv_supervisor.environment_files import variables_of_directory, variables_of_file


def read(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "a.env").write_text(text)
    return variables_of_file(tmp_path / "a.env", "--env-file a.env")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("A=", ""),
        ("  export A = x y  ", "x y"),
        ("A=b=c", "b=c"),
        ("A=b # a comment", "b"),
        ("A=b#c", "b#c"),
        ("A=# only a comment", ""),
        ('A="b # c"  # a comment', "b # c"),
        ("A='b # $C \\n'", "b # $C \\n"),
        ('A="b\\n\\t\\"c\\" \\\\ $D"', 'b\n\t"c" \\ $D'),
        ("A=$HOME", "$HOME"),
    ],
)
def test_a_line_is_a_variable(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, f"{line}\n") == {"A": value}


def test_empty_lines_and_comments_say_nothing_and_the_last_line_of_a_name_counts(tmp_path: Path) -> None:
    assert read(tmp_path, "# a\n\nA=1\n  # b\nA=2\r\nB=3") == {"A": "2", "B": "3"}


@pytest.mark.parametrize("character", ["\u2028", "\x85", "\x0c", "\x1e"])
def test_only_the_end_of_a_line_ends_it_so_that_no_value_sets_another_variable(tmp_path: Path, character: str) -> None:
    assert read(tmp_path, f"A=1{character}B=2\n") == {"A": f"1{character}B=2"}


@pytest.mark.parametrize("line", ["A", "1A=2", "=1", "A B=1", "export"])
def test_what_is_no_variable_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^--env-file a\.env: line 2 is not KEY=VALUE"):
        read(tmp_path, f"OK=1\n{line}\n")


@pytest.mark.parametrize("value", ['"a', "'a", '"a" b', "'a'b", '"a\\"'])
def test_a_quote_must_end_the_value(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidRequest, match="line 1 begins with a quote that does not end the value"):
        read(tmp_path, f"A={value}\n")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_bytes(b"A=\xff")
    with pytest.raises(InvalidRequest, match="it is not UTF-8"):
        variables_of_file(tmp_path / "a.env", "a.env")


def test_each_file_of_a_directory_is_read_but_no_hidden_one_and_nothing_below(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("A=b\nB=b\n")
    (tmp_path / "a.env").write_text("A=a\n")
    (tmp_path / ".hidden").write_text("nonsense")
    (tmp_path / "below").mkdir()
    assert variables_of_directory(tmp_path, "env") == {"A": "b", "B": "b"}


def test_a_wrong_file_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nonsense\n")
    with pytest.raises(InvalidRequest, match=r"^--env-file-dir env/a: line 1"):
        variables_of_directory(tmp_path, "--env-file-dir env")
