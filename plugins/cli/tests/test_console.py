"""The console: what goes where, and how it is aligned."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Build = Callable[..., Any]


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_a_table_is_aligned_with_two_spaces_and_has_no_trailing_blanks(streams: Build) -> None:
    it = streams()
    it.console.table(["NAME", "STATUS", "CHOSEN"], [["time", "running", ""], ["世界", "x", "yes"]])
    assert it.stdout.getvalue().splitlines() == [
        "NAME  STATUS   CHOSEN",
        "time  running",
        "世界  x        yes",
    ]


def test_a_table_without_rows_is_its_header(streams: Build) -> None:
    it = streams()
    it.console.table(["NAME", "URL"], [])
    assert it.stdout.getvalue() == "NAME  URL\n"


def test_a_cell_cannot_break_its_row_or_drive_the_terminal(streams: Build) -> None:
    it = streams()
    it.console.table(["NAME"], [["evil\n\x1b[2Jname"]])
    assert it.stdout.getvalue() == "NAME\nevil\\n\\x1b[2Jname\n"


def test_a_step_ends_with_its_time_in_one_column(streams: Build) -> None:
    it = streams()
    it.console.step("prepared", "14 packages, 21 MB", 2.1)
    it.console.step("ready", "2 tools: get_current_time, convert_time", 10.66)
    it.console.step("resolved", "mcp-server-time 2026.9.1 from PyPI")
    assert it.stderr.getvalue().splitlines() == [
        "  prepared   14 packages, 21 MB                                      2.1 s",
        "  ready      2 tools: get_current_time, convert_time                10.7 s",
        "  resolved   mcp-server-time 2026.9.1 from PyPI",
    ]
    assert it.stdout.getvalue() == ""


def test_a_long_step_keeps_two_spaces_before_its_time(streams: Build) -> None:
    it = streams()
    it.console.step("ready", "x" * 80, 0.7)
    assert it.stderr.getvalue() == f"  ready      {'x' * 80}  0.7 s\n"


def test_what_goes_on_is_replaced_by_whatever_is_printed_next(streams: Build) -> None:
    it = streams(terminal=True, NO_COLOR="1")
    it.console.going_on("downloading", "3 MB")
    it.console.going_on("downloading", "9 MB")
    it.console.step("prepared", "21 MB")
    it.console.step("ready", "2 tools")
    assert it.stderr.getvalue() == (
        "  downloading 3 MB\r\x1b[K  downloading 9 MB\r\x1b[K  prepared   21 MB\n  ready      2 tools\n"
    )


def test_data_and_the_end_also_replace_what_goes_on(streams: Build) -> None:
    it = streams(terminal=True)
    it.console.going_on("building", "x")
    it.console.line("http://127.0.0.1:19001/mcp")
    assert it.stderr.getvalue().endswith("x\r\x1b[K")
    it.console.going_on("building", "y")
    it.console.flush()
    assert it.stderr.getvalue().endswith("y\r\x1b[K")


def test_what_goes_on_never_wraps(streams: Build) -> None:
    it = streams(terminal=True)
    it.console.going_on("building", "x" * 500, 9.0)
    assert len(it.stderr.getvalue()) == 79


@pytest.mark.parametrize(("terminal", "environment"), [(False, {}), (True, {"TERM": "dumb"})])
def test_nothing_goes_on_without_a_terminal_that_can_redraw(
    streams: Build, terminal: bool, environment: dict[str, str]
) -> None:
    it = streams(terminal, **environment)
    it.console.going_on("building", "x")
    assert it.stderr.getvalue() == ""


def test_nothing_goes_on_when_quiet(streams: Build) -> None:
    it = streams(terminal=True)
    it.console.quiet = True
    it.console.going_on("building", "x")
    assert it.stderr.getvalue() == ""


def test_quiet_silences_people_and_not_data_or_errors(streams: Build) -> None:
    it = streams()
    it.console.quiet = True
    it.console.message("hello")
    it.console.step("ready", "now")
    it.console.line("data")
    it.console.failure("bad")
    assert it.stdout.getvalue() == "data\n"
    assert it.stderr.getvalue() == "error: bad\n"


def test_a_document_is_indented_json_that_keeps_readable_letters(streams: Build) -> None:
    it = streams()
    it.console.document({"name": "Grüße \u202e"})
    assert it.stdout.getvalue() == '{\n  "name": "Grüße \\u202e"\n}\n'
    assert json.loads(it.stdout.getvalue()) == {"name": "Grüße \u202e"}


def test_a_line_of_data_is_untouched_for_a_pipe_and_safe_for_a_terminal(streams: Build) -> None:
    pipe, terminal = streams(), streams(terminal=True)
    pipe.console.line("\x1b[31mred")
    terminal.console.line("\x1b[31mred")
    assert pipe.stdout.getvalue() == "\x1b[31mred\n"
    assert terminal.stdout.getvalue() == "\\x1b[31mred\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False)],
)
def test_there_is_colour_on_a_terminal_only_and_never_with_no_color(
    streams: Build, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    it = streams(terminal, **environment)
    it.console.failure("bad")
    assert ("\x1b[" in it.stderr.getvalue()) is coloured


@pytest.mark.usefixtures("_logging_as_before")
def test_speaking_up_shows_what_is_logged(streams: Build) -> None:
    it = streams()
    it.console.speak_up()
    logging.getLogger("x").debug("fine")
    logging.getLogger("x").info("work")
    assert it.stderr.getvalue() == "DEBUG x: fine\nINFO x: work\n"
    assert it.console.debug is True


@pytest.mark.parametrize(("terminal", "shown"), [(True, "\n"), (False, "")])
def test_breaking_off_ends_the_line_of_a_terminal(streams: Build, terminal: bool, shown: str) -> None:
    it = streams(terminal)
    it.console.break_off()
    assert it.stderr.getvalue() == shown


def test_debug_messages_are_lines_of_json_when_logs_shall_be_structured(streams: Build) -> None:
    it = streams(UNSTRUCTURED_LOGS="false")
    it.console.speak_up()
    try:
        logging.getLogger("x").debug("fine: %s", 1)
        try:
            raise ValueError("odd")
        except ValueError:
            logging.getLogger("x").exception("bad")
    finally:
        logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()], force=True)
    first, second = map(json.loads, it.stderr.getvalue().splitlines())
    assert (first["level"], first["logger"], first["msg"]) == ("DEBUG", "x", "fine: 1")
    assert second["error"].splitlines()[-1] == "ValueError: odd"
