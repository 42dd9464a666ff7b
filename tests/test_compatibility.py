"""Every documented command and flag of ToolHive exists here, or ``docs/compatibility.md`` says why it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click
import pytest
from harness.toolhive import COMMANDS, FLAGS, RUN_ALONE

PAGE = "docs/compatibility.md"
ABSENT = "Not here, or of another shape"
OTHERWISE = "Here, and it works otherwise"
VARIABLES = "Environment variables"

SPAN = re.compile(r"`([^`]+)`")
QUOTED = re.compile(r'"((?:TOOLHIVE|UNSTRUCTURED)_[A-Z0-9_]+)"')

Entry = tuple[str, str]
"""A command without ``thv``, and one flag of it; an empty flag means the command itself."""


@dataclass(frozen=True)
class Flag:
    """One documented flag."""

    command: str
    names: tuple[str, ...]
    kind: str
    default: str


def documented_commands() -> dict[str, str]:
    """The positional arguments of each command by its words."""
    return {words: usage.strip() for words, _, usage in (line.partition(" |") for line in rows_of(COMMANDS))}


def documented_flags() -> list[Flag]:
    cells = [[cell.strip() for cell in line.split("|")] for line in rows_of(FLAGS)]
    return [Flag(command, tuple(names.split()), kind, default) for command, names, kind, default in cells]


def rows_of(text: str) -> list[str]:
    return text.strip().splitlines()


# What is here --------------------------------------------------------------------------------------------------------


def found(root: click.Group, words: str) -> click.Command | None:
    """Return the command of a path; an alias is its command, and a word may be what an argument chooses from."""
    from thv_cli.command_tree import ALIASES

    command: click.Command = root
    for word in words.split():
        children = command.commands if isinstance(command, click.Group) else {}
        child = children.get(word) or (children.get(ALIASES.get(word, "")) if command is root else None)
        if child is None and not chooses(command, word):
            return None
        command = child or command
    return command


def chooses(command: click.Command, word: str) -> bool:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    return any(isinstance(each.type, click.Choice) and word in each.type.choices for each in arguments)


def takes(command: click.Command, usage: str) -> bool:
    """Whether a command takes as many positional arguments as documented; ``...`` is any number."""
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    unbounded = any(each.nargs == -1 for each in arguments)
    children = set(command.commands) if isinstance(command, click.Group) else set()
    words = [
        word for word in re.findall(r"[<\[][^>\]]*[>\]]|\S+", usage) if not set(word.strip("[]").split("|")) <= children
    ]
    return unbounded or ("..." not in usage and sum(each.nargs for each in arguments) >= len(words))


def option_of(command: click.Command, name: str) -> click.Option | None:
    from thv_cli.global_options import with_global_options

    options = [each for each in with_global_options(command).params if isinstance(each, click.Option)]
    return next((each for each in options if name in each.opts), None)


def default_of(command: click.Command, option: click.Option) -> Any:
    """Return what a command is given when nobody names the option."""
    with command.make_context("thv", [], resilient_parsing=True) as context:
        return context.params[option.name]


# How it differs ------------------------------------------------------------------------------------------------------


def converts(text: str, value: object) -> Callable[[click.Option], bool]:
    def check(option: click.Option) -> bool:
        if option.is_flag or option.multiple:
            return False
        try:
            return bool(option.type.convert(text, option, None) == value)
        except click.UsageError:
            return False

    return check


def is_text(option: click.Option) -> bool:
    return not option.is_flag and not option.multiple and isinstance(option.type, TEXTS)


TEXTS = (click.types.StringParamType, click.Choice, click.Path)

KINDS: dict[str, Callable[[click.Option], bool]] = {
    "bool": lambda option: option.is_flag,
    "int": converts("7", 7),
    "float": converts("0.5", 0.5),
    "duration": lambda option: converts("30s", 30.0)(option) and converts("1m30s", 90.0)(option),
    "string": is_text,
    "strings": lambda option: option.multiple and not option.is_flag,
    "stringArray": lambda option: option.multiple and not option.is_flag,
}

SECONDS = {"0s": 0.0, "30s": 30.0}


def same_default(flag: Flag, value: object) -> bool:
    if flag.kind == "bool":
        return value is (flag.default == "true")
    if flag.kind in ("int", "float"):
        return value == float(flag.default)
    if flag.kind == "duration":
        return value == SECONDS[flag.default]
    if flag.kind == "string":
        return (value or "") == flag.default.strip('"')
    return not value and flag.default == "[]"


def difference(command: click.Command, flag: Flag) -> str:
    """Say how a flag differs from what is documented, or nothing."""
    option = option_of(command, flag.names[0])
    if option is None:
        return "it is missing"
    if missing := set(flag.names) - set(option.opts):
        return f"it has no {', '.join(sorted(missing))}"
    if not KINDS[flag.kind](option):
        return f"it is no {flag.kind}"
    value = default_of(command, option)
    return "" if same_default(flag, value) else f"its default is {value!r} and not {flag.default}"


def differences(root: click.Group) -> dict[Entry, str]:
    """Say of each command and flag that differs how it does; of what is missing, the flags are not told."""
    told: dict[Entry, str] = {}
    for words, usage in documented_commands().items():
        command = found(root, words)
        if command is None:
            told[words, ""] = "it is missing"
        elif not takes(command, usage):
            told[words, ""] = f"it does not take {usage}"
        elif words in RUN_ALONE and isinstance(command, click.Group) and not command.invoke_without_command:
            told[words, ""] = "it does nothing without a subcommand"
    for flag in documented_flags():
        command = found(root, flag.command)
        if command is not None and (said := difference(command, flag)):
            told[flag.command, flag.names[0]] = said
    return told


# What the page says --------------------------------------------------------------------------------------------------


def table(section: str) -> list[list[str]]:
    """Return the cells of the rows of the tables of a section, without their heads."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    heads = {at - 1 for at, line in enumerate(lines) if set(line) <= set("|-: ")}
    rules = {at + 1 for at in heads}
    rows = [line for at, line in enumerate(lines) if at not in heads | rules]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def entries(cell: str) -> Iterator[Entry]:
    """Yield what a first cell names: `thv run --x`, `--y` are two flags of one command."""
    command = ""
    for span in SPAN.findall(cell):
        words = span.split()
        flags = [word for word in words if word.startswith("-")]
        if words[0] == "thv":
            command = " ".join(word for word in words[1:] if not word.startswith("-"))
        yield from ((command, flag) for flag in flags or [""])


def listed(section: str) -> list[Entry]:
    return [entry for row in table(section) for entry in entries(row[0])]


@pytest.fixture(scope="module")
def sections(pages) -> dict[str, str]:
    return pages[PAGE].sections


def test_what_differs_is_exactly_what_the_page_lists(command_tree: click.Group, sections: dict[str, str]) -> None:
    told = differences(command_tree)
    page = listed(sections[ABSENT])
    assert {entry: said for entry, said in told.items() if entry not in page} == {}, "the page does not list them"
    assert [entry for entry in page if entry not in told] == [], "the page lists what is as documented"
    assert sorted(page) == sorted(set(page)), "the page lists something twice"


def test_each_difference_has_a_reason_and_says_when_it_ends(sections: dict[str, str]) -> None:
    rows = table(sections[ABSENT])
    assert len(rows) > 20
    assert [row for row in rows if len(row) != 4 or not all(row)] == []


def test_the_program_says_with_which_feature_a_missing_flag_comes(
    command_tree: click.Group, sections: dict[str, str]
) -> None:
    from thv_cli.elsewhere import feature_of

    told = differences(command_tree)
    for first, _, _, arrives in table(sections[ABSENT]):
        for words, flag in entries(first):
            if flag and told.get((words, flag)) == "it is missing":
                assert feature_of(flag) == ("" if arrives == "never" else arrives), f"thv {words} {flag}"


def test_no_flag_that_is_here_is_said_to_come_with_a_feature(command_tree: click.Group) -> None:
    from thv_cli.elsewhere import feature_of

    def flags(command: click.Command) -> Iterator[str]:
        yield from (name for each in command.params for name in each.opts)
        for child in command.commands.values() if isinstance(command, click.Group) else ():
            yield from flags(child)

    assert [flag for flag in flags(command_tree) if feature_of(flag)] == []


def test_what_works_otherwise_is_here_and_has_a_reason(command_tree: click.Group, sections: dict[str, str]) -> None:
    rows = table(sections[OTHERWISE])
    assert len(rows) > 5
    assert [row for row in rows if len(row) != 3 or not all(row)] == []
    for words, flag in listed(sections[OTHERWISE]):
        command = found(command_tree, words)
        assert command is not None, f"thv {words} is not here"
        assert not flag or option_of(command, flag), f"thv {words} has no {flag}"


def test_the_variables_that_the_page_calls_honoured_are_those_of_the_source(
    distributions, sections: dict[str, str]
) -> None:
    texts = [path.read_text(encoding="utf-8") for each in distributions for path in (each.folder / "src").rglob("*.py")]
    constants = {name for text in texts for name in re.findall(r"^([A-Z_]+)\b.* = ", text, flags=re.MULTILINE)}
    read = {name for text in texts for name in QUOTED.findall(text)} - constants
    honoured = {
        name.removesuffix("NAME")
        for row in table(sections[VARIABLES])
        if row[1].startswith("honoured")
        for name in SPAN.findall(row[0])
    }
    assert honoured == read


# The checks themselves -----------------------------------------------------------------------------------------------

SAMPLE = click.Group(
    "thv",
    commands=[
        click.Command(
            "one",
            params=[
                click.Argument(["name"]),
                click.Option(["-a", "--all"], is_flag=True),
                click.Option(["--tail"], type=int, default=3),
                click.Option(["--env"], multiple=True),
            ],
        )
    ],
)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("one | --all -a | bool | false", ""),
        ("one | --all -x | bool | false", "it has no -x"),
        ("one | --all | bool | true", "its default is False and not true"),
        ("one | --all | string |", "it is no string"),
        ("one | --tail | int | 3", ""),
        ("one | --tail | int | 0", "its default is 3 and not 0"),
        ("one | --tail | duration | 0s", "it is no duration"),
        ("one | --env | stringArray | []", ""),
        ("one | --env | string |", "it is no string"),
        ("one | --none | bool | false", "it is missing"),
    ],
)
def test_each_way_to_differ_is_found(line: str, said: str) -> None:
    command, names, kind, default = (cell.strip() for cell in line.split("|"))
    one = found(SAMPLE, command)
    assert one is not None
    assert difference(one, Flag(command, tuple(names.split()), kind, default)) == said


def test_a_command_that_takes_too_few_arguments_is_found() -> None:
    one = found(SAMPLE, "one")
    assert one is not None
    assert [takes(one, usage) for usage in ("", "<name>", "<a name> <path>", "[name...]")] == [True, True, False, False]
    assert found(SAMPLE, "two") is None


def test_the_reference_is_whole() -> None:
    assert len(documented_commands()) > 60
    assert len(documented_flags()) > 190
    assert {flag.command for flag in documented_flags()} <= set(documented_commands())


def test_rows_and_entries_of_the_page_are_read() -> None:
    section = "| a | b |\n|---|---|\n| `thv run --x`, `--y`, `thv list` | one \\| two |\n"
    ((first, second),) = table(section)
    assert list(entries(first)) == [("run", "--x"), ("run", "--y"), ("list", "")]
    assert second == "one \\| two"
