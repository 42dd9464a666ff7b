"""The documentation describes every command with its flags and nothing else, and the product advises what exists."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

import click
import pytest

FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
ADVICE = re.compile(r"(?:^|[:`]|  )\s*thv (?P<words>[a-z]+(?: [a-z]+)*)")


@pytest.fixture(scope="module")
def commands(command_tree: click.Group) -> dict[str, click.Command]:
    return dict(commands_of(command_tree, "thv"))


@pytest.fixture(scope="module")
def commands_page(pages) -> dict[str, str]:
    return pages["docs/commands.md"].sections


# Commands and flags --------------------------------------------------------------------------------------------------


def commands_of(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every visible command from one downward, by its path; a group that only groups is not one itself."""
    children = command.commands if isinstance(command, click.Group) else {}
    if not children or command.invoke_without_command:
        yield path, command
    for name, child in children.items():
        if not child.hidden:
            yield from commands_of(child, f"{path} {name}")


def flags_of(command: click.Command) -> set[str]:
    """Return every visible flag of a command, in each of its spellings."""
    options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    return {flag for each in options for flag in (*each.opts, *each.secondary_opts)} - {"--help"}


def global_flags() -> set[str]:
    """Return the flags that every command takes, as the command line adds them to one that has none."""
    from thv_cli.global_options import with_global_options

    return flags_of(with_global_options(click.Command("bare"), hidden=False))


def described_flags(section: str) -> set[str]:
    """Return the flags in the first column of the tables of a section."""
    cells = re.findall(r"^\| (.*?) \|", section, flags=re.MULTILINE)
    return {flag for cell in cells if "`-" in cell for flag in FLAG.findall(cell)}


def test_every_command_has_a_section_and_every_section_a_command(
    commands: dict[str, click.Command], commands_page: dict[str, str]
) -> None:
    assert {heading for heading in commands_page if heading.startswith("thv ")} == set(commands)


def test_each_command_is_described_with_exactly_its_flags(
    commands: dict[str, click.Command], commands_page: dict[str, str]
) -> None:
    described = {path: described_flags(commands_page.get(path, "")) for path in commands}
    assert described == {path: flags_of(command) for path, command in commands.items()}


def test_the_flags_of_every_command_are_described_once(commands_page: dict[str, str]) -> None:
    assert described_flags(commands_page["Options of every command"]) == global_flags() | {"--help"}


def test_every_alias_of_a_command_is_mentioned(commands_page: dict[str, str]) -> None:
    from thv_cli.command_tree import ALIASES

    for alias, command in ALIASES.items():
        assert f"`thv {alias}`" in commands_page[f"thv {command}"]


# Examples of shell ---------------------------------------------------------------------------------------------------


def invocation(line: str) -> list[str]:
    """Return the words behind ``thv`` of a line of shell, up to a pipe or a comment; nothing if it is another line."""
    match = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?thv (?P<rest>.*)", line)
    if match is None:
        return []
    words = shlex.split(match["rest"], comments=True)
    ends = [at for at, word in enumerate(words) if word in ("|", "&&", ">", ";")]
    return words[: ends[0]] if ends else words


def takes_words(group: click.Group) -> bool:
    """Whether a word behind a group may be something else than a command of it."""
    return any(isinstance(each, click.Argument) for each in group.params)


def problems(words: list[str], command: click.Command) -> list[str]:
    """Return what an invocation names that does not exist: a command, or a flag."""
    rest = list(words)
    while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
        child = command.commands.get(rest[0])
        if child is None and takes_words(command):
            break
        if child is None:
            return [f"no command {rest[0]!r} in: thv {shlex.join(words)}"]
        command, rest = child, rest[1:]
    ours = rest[: rest.index("--")] if "--" in rest else rest
    known = flags_of(command) | global_flags() | {"--help", "--version"}
    flags = [word.split("=")[0] for word in ours if re.match(r"--?[a-zA-Z]", word)]
    return [f"no flag {flag} in: thv {shlex.join(words)}" for flag in flags if flag not in known]


def test_every_example_of_shell_parses(pages, command_tree: click.Group) -> None:
    shell = [block for page in pages.values() for block in page.blocks if block.language in ("sh", "console")]
    found = [words for block in shell for line in block.body.splitlines() if (words := invocation(line))]
    assert len(found) > 10, "no example was found: the search is broken"
    assert [problem for words in found for problem in problems(words, command_tree)] == []


# Advice of the product -----------------------------------------------------------------------------------------------


def advised(source: str) -> Iterator[list[str]]:
    """Yield the words behind ``thv`` wherever a text of a program tells its user to call it."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            for match in ADVICE.finditer(node.value):
                yield match["words"].split()


def is_unknown(words: list[str], group: click.Group) -> bool:
    """Whether the first words are no command; words behind a whole command are arguments or prose."""
    child = group.commands.get(words[0])
    if isinstance(child, click.Group):
        return len(words) > 1 and not takes_words(child) and is_unknown(words[1:], child)
    return child is None


def test_every_command_that_the_product_advises_exists(distributions, command_tree: click.Group) -> None:
    found = [
        (path.name, words)
        for each in distributions
        for path in sorted((each.folder / "src").rglob("*.py"))
        for words in advised(path.read_text(encoding="utf-8"))
    ]
    assert len(found) > 5, "no advice was found: the search is broken"
    assert [(name, " ".join(words)) for name, words in found if is_unknown(words, command_tree)] == []


# The checks themselves -----------------------------------------------------------------------------------------------


def test_a_hidden_command_and_a_hidden_flag_need_no_description() -> None:
    hidden = click.Command("one", hidden=True)
    shown = click.Command("two", params=[click.Option(["--old"], hidden=True), click.Option(["-n", "--new"])])
    group = click.Group("thv", commands=[hidden, shown])
    assert [path for path, _ in commands_of(group, "thv")] == ["thv two"]
    assert flags_of(shown) == {"-n", "--new"}


def test_flags_are_read_from_the_first_column_only() -> None:
    section = "see `--elsewhere`\n| option | meaning |\n|---|---|\n| `--env`, `-e` | like `--other` |\n"
    assert described_flags(section) == {"--env", "-e"}


def test_an_invented_command_or_flag_is_found(command_tree: click.Group) -> None:
    assert problems(invocation("$ thv mcp invent time"), command_tree)
    assert problems(invocation("thv list --invented | jq"), command_tree)
    assert problems(invocation("A=b .tox/tour/bin/thv invent"), command_tree)
    assert problems(invocation("thv list --format json | jq --raw"), command_tree) == []
    assert problems(invocation("thv run uvx://x -- --for-the-server"), command_tree) == []
    assert problems(invocation("thv logs time --follow"), command_tree) == []
    assert problems(invocation("thv logs time --invented"), command_tree)
    assert invocation("$ ls thv") == []


def test_advice_to_call_a_command_that_does_not_exist_is_found(command_tree: click.Group) -> None:
    source = 'raise Refused(hint=f"Try:  thv runtime invent {name}")\nsay("thv list shows it", "a thv of old")\n'
    found = sorted(advised(source))
    assert found == [["list", "shows", "it"], ["runtime", "invent"]]
    assert [is_unknown(words, command_tree) for words in found] == [False, True]
